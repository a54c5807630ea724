"""What the internet may send: bad files, floods, broken connections and break-in attempts, against every door.

``pytest -m robustness`` runs all of it; the ordinary run leaves out what takes minutes. docs/robustness.md has the
figures of a full run, SECURITY.md says what each test stands for.
"""

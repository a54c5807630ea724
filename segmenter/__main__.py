"""Start the command line: `python -m segmenter --help`."""

from segmenter.cli.commands import main

if __name__ == "__main__":
    raise SystemExit(main())

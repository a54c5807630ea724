"""The command line: `python -m segmenter predict|info|score`."""

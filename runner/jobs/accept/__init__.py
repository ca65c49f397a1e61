"""Asks engines' own validators about what was rendered, each in its environment: `python -m accept.by_ENGINE FILE`.

FILE is a JSON list of cases: `name`, `files` (text by name, as rendered) and what the module of the engine says it
needs besides. For each one line comes back, in order: `ACCEPT {"name": ..., "problems": [...], "assumed": [...]}`. A
problem says `by` whom it was found, what was `said`, which `keys` it is about (dotted, the likeliest first; often none
is named) and whether something would be `dropped` without a word. `assumed` names libraries that the config needs and
this machine lacks, without which the rest was looked at. Nothing is trained, loaded or downloaded.
"""

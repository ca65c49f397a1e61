"""Another tool's config -> a recipe's text, and what was not taken over as it stands; a recipe -> Axolotl's config.

A tool is one module here, listed in detect.py: `NAME`, `known()`, the keys it is told by, and `translate`. What needs
no more than another name stands in data/imports.
"""

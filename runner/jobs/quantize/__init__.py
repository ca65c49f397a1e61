"""Quantizes a model and holds what comes of it against what it was: `python -m quantize quantize|gate`."""

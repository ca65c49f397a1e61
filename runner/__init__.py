"""Declarative recipes for large language models: checked, planned, rendered and run on the field's own engines."""

__version__ = "0.1.0"

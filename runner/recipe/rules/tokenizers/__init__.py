"""Rules of the recipes that compare tokenizers."""

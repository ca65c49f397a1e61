"""Rules of the recipes that transformers' own Trainer runs."""

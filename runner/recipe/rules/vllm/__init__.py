"""Rules of the recipes that serve."""

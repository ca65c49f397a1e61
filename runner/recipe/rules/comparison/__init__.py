"""Rules of comparisons."""

"""Scaling laws: how loss falls with parameters and tokens, fitted to measured runs. Needs numpy; the commands load it."""

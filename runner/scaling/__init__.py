"""Scaling laws: how loss falls with parameters and tokens, fitted to measured runs. Loaded when called."""

"""Evaluations of several models on the same documents: what each came to, and what lies between any two of them."""

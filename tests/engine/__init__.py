"""Tests that run the real engines on CPU; marked `engine`, minutes rather than seconds."""

"""Prepares data for pretraining with datatrove: `python -m prepare STEP` in a run directory with prepare.json.

Runs in datatrove's environment. Every step can be run again: what its tasks have completed is not done twice.
"""

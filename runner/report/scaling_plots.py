"""Fit -> plots."""
def draw(fit, out):
    return []

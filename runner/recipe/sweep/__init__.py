"""Sweeps: a base recipe and a design -> children, each an ordinary recipe."""

from runner.recipe.sweep.check import check_sweep
from runner.recipe.sweep.children import Child, children_of, is_sweep

__all__ = ["Child", "check_sweep", "children_of", "is_sweep"]

"""placeholder"""

from runner.plan.types import Estimate, Store


def host_ram(recipe, w):
    return Store(Estimate(0.0, 0.0, 0.0), {}, 0.0)

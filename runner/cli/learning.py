"""What the commands of the learning plan share."""

from __future__ import annotations

from runner.curriculum import Curriculum, Week
from runner.diagnostics import Diagnostic, Span
from runner.recipe.load import Refused


def plan_week(plan: Curriculum, number: int) -> Week:
    """Raises Refused (R480) for a week that the plan does not have."""
    try:
        return plan.week(number)
    except KeyError:
        last = plan.weeks[-1].number
        raise Refused(
            Diagnostic(
                "R480",
                f"the plan has no week {number}",
                Span("<command line>"),
                help=f"weeks are 1 to {last}; `runner path` shows them",
            )
        ) from None

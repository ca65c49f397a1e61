"""Rules about what is compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule


@rule("R954", "runs that can't be told apart", source="https://arxiv.org/abs/2411.00640")
def labels(facts: Facts) -> Iterator[Diagnostic]:
    """Labels name the columns of the tables, so each is given once, `baseline` is one of them, and each run has
    something to compare: results, a table of its quantization or its benchmark, or what it left, for what it took.
    """
    seen: Counter[str] = Counter()
    for at, node in facts.all("runs.*"):
        label = node.child("label")
        name = str(label.value) if label is not None else ""
        seen[name] += 1
        if label is not None and seen[name] == 2:
            yield facts.report("R954", f"{at}.label", f"two runs are called `{name}`", help="give each its own label")
        if not any(node.child(key) for key in ("results", "gate", "bench", "run")):
            yield facts.report(
                "R954",
                at,
                f"`{name}` has nothing to compare",
                help="add `results: ${needs.x.results}`, a table as `gate` or `bench`, or what it left as `run`",
            )
    baseline = facts.get("baseline")
    if isinstance(baseline, str) and baseline not in seen and "runs" not in facts.refused:
        close = nearest_word(baseline, list(seen))
        yield facts.report(
            "R954",
            "baseline",
            f"no run is called `{baseline}`",
            label=f"did you mean `{close}`?" if close else "",
            help="name one of the labels",
        )

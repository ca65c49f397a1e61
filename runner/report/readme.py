"""The generated parts of README.md: the catalogue, a recipe beside what it renders, and its plan."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from runner.diagnostics import SourceLines, render_text
from runner.facts.boxes import load_box
from runner.plan.make import make_plan
from runner.plan.verdict import unfit
from runner.project import Project, find_project, shipped
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.naming import find_recipe
from runner.recipe.resolve import Recipe, resolve
from runner.render import render
from runner.report import faults
from runner.report.ink import Ink, count
from runner.report.plan_text import page
from runner.report.taken import read

EXAMPLE = "phase4/dpo-13b"
# a recipe, and a box that it does not fit
LARGE, SMALL_BOX = "phase1/gpt-1b", "1xa100-40"
PHASES = {
    "phase1": "Phase 1: transformers from scratch",
    "phase2": "Phase 2: scaling and distributed training",
    "phase4": "Phase 4: finetuning and alignment",
    "phase5": "Phase 5: mixtures of experts",
}


def catalogue(project: Project) -> str:
    """One table a phase. `smoke` is what the last recorded smoke run measured."""
    taken = read()
    out: list[str] = []
    for phase, title in PHASES.items():
        out += [
            f"**{title}**",
            "",
            "| recipe | kind | week | what it makes | smoke on CPU | on 2x H100 |",
            "|---|---|---|---|---|---|",
        ]
        for file in sorted((project.recipes / phase).glob("*.yaml")):
            doc = compose(project, file)
            place = f"[`{doc.name}`](recipes/{doc.name}.yaml)"
            plain = {k: doc.keys[k].plain() for k in ("kind", "week", "title") if k in doc.keys}
            far = taken.get(doc.name, {})
            out.append(
                f"| {place} | {plain['kind']} | {plain.get('week', '')} | {plain['title']} "
                f"| {smoked(far.get('smoke'))} | {_measured(far.get('full'))} |"
            )
        out.append("")
    return "\n".join(out).rstrip()


def smoked(far: dict[str, Any] | None) -> str:
    if not far:
        return "not yet"
    if "reward" in far:
        change = f"reward {far['first_reward']:.1f} → {far['reward']:.1f}"
    elif "rewards/margins" in far:
        change = f"margin {far['first_rewards/margins']:.1f} → {far['rewards/margins']:.1f}"
    elif "children" in far:
        change = f"{far['children']:.0f} runs"
    elif "first_loss" in far:
        change = f"loss {far['first_loss']:.1f} → {far['loss']:.1f}"
    elif "tokens" in far:
        change = f"{count(int(far['tokens']))} tokens"
    else:
        change = "ran"
    return f"{change}, {far['seconds']} s"


def _measured(far: dict[str, Any] | None) -> str:
    return f"{far['date']}, {far['seconds'] / 3600:.1f} h" if far else "accepted, not measured"


def example(project: Project) -> str:
    """A recipe, shortened, beside the launch.sh that it renders for its box."""
    file = find_recipe(project, EXAMPLE)
    launch = render(_resolved(project, EXAMPLE))["launch.sh"].splitlines()
    start = next(i for i, line in enumerate(launch) if line.startswith("step train"))
    shown = [f"`recipes/{EXAMPLE}.yaml`", "", "```yaml", file.read_text().rstrip(), "```", ""]
    shown += ["the end of the `launch.sh` that it renders", "", "```bash", *launch[start:], "```"]
    return "\n".join(shown)


def plan(project: Project) -> str:
    """What `runner plan` says of the example."""
    lines = page(make_plan(_resolved(project, EXAMPLE)), Ink())
    return "\n".join(["```text", f"$ runner plan {EXAMPLE}", *lines, "```"])


def unfit_plan(project: Project) -> str:
    """What `runner plan` says of a recipe on a box that is too small for it."""
    box = load_box(SMALL_BOX)
    recipe = _resolved(project, LARGE)
    told = render_text(unfit(make_plan(recipe, box), recipe, box), SourceLines())
    return "\n".join(["```text", f"$ runner plan {LARGE} --box {SMALL_BOX} > /dev/null", told, "```"])


def agreement() -> str:
    """How often our verdict is Axolotl's, by what `make differential` measured."""
    found = json.loads((shipped("data") / "agreement.json").read_text())
    same = found["both_accept"] + found["both_refuse"]
    asked = same + found["stricter"] + found["looser"]
    looser, stricter = (found[key] or "none" for key in ("looser", "stricter"))
    return (
        f"`make differential` mutates the {found['recipes']} recipes that Axolotl runs, and asks Axolotl "
        f"{found['axolotl']}'s own validator about {found['configs']:,} of what comes of it ({found['date']}). "
        f"{found['later']} were refused here for what goes wrong only after that validator. On {same / asked:.1%} of "
        f"the other {asked:,} the verdict is the same; {looser} were accepted here and refused by Axolotl, {stricter} "
        "the other way round."
    )


def _resolved(project: Project, name: str) -> Recipe:
    doc = compose(project, find_recipe(project, name))
    return resolve(project, doc, "full", lambda name, profile: None, library=Library(project))


def fill(text: str, blocks: dict[str, str]) -> str:
    """`text` with what stands between `<!-- NAME -->` and `<!-- /NAME -->` replaced. KeyError for a lost mark."""
    for name, content in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        if not pattern.search(text):
            raise KeyError(name)
        text = pattern.sub(lambda m, content=content: f"{m[1]}{content}\n{m[2]}", text)  # type: ignore[misc]
    return text


def blocks(project: Project) -> dict[str, str]:
    return {
        "catalogue": catalogue(project),
        "example": example(project),
        "plan": plan(project),
        "unfit": unfit_plan(project),
        "agreement": agreement(),
        "faults": faults.table(project.root / "tests"),
    }


def main() -> None:
    project = find_project()
    readme = Path(sys.argv[1])
    readme.write_text(fill(readme.read_text(), blocks(project)))


if __name__ == "__main__":
    main()

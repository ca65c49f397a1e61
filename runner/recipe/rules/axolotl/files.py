"""Rule about data files that can't be read as what they are said to be."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.local_data import OUTSIDE, local_data


@rule(
    "R853",
    "a data file that can't be read",
    source="https://github.com/huggingface/datasets/blob/main/src/datasets/packaged_modules/json/json.py",
)
def readable(facts: Facts) -> Iterator[Diagnostic]:
    """Data are read by the `datasets` library: rows of JSON, each a mapping, one after the other or in one list, and
    without NUL bytes; CSV and text in UTF-8; Parquet with its footer. Anything else ends the run while the model waits,
    and a pipe or a link that leads nowhere before that. Only the start of each file is looked at. A first row of
    megabytes is doubted: mostly it is a file that lost its line ends. So is a link out of the project, which is not
    followed here: a recipe should say what it reads.
    """
    for local in local_data(facts):
        for found in local.peeks:
            name = printable(found.file.name, 60)
            if found.trouble:
                yield facts.report(
                    "R853",
                    local.key,
                    f"`{name}` can't be read as data: {printable(found.trouble, 160)}",
                    help="mend the file" if found.file.is_file() else "name a file of data, or a folder that holds it",
                )
            elif found.doubt:
                followed = found.doubt != OUTSIDE
                yield facts.report(
                    "R853",
                    local.key,
                    f"`{name}` is doubtful as data: {printable(found.doubt, 160)}",
                    help="put each row on a line of its own" if followed else "name the place that it leads to",
                    severity="warning",
                )

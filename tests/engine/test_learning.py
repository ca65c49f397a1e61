"""What a learner sees of runs that really happened: smoke is told from full, and the week's log has their figures."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta

from tests.engine.conftest import Smoke


def test_the_path_and_the_log_are_of_real_runs(smoked: Smoke) -> None:
    # the runs are some hours old at most, and may have begun before midnight
    start = date.today() - timedelta(days=3)
    smoked.call("path", "--start", start.isoformat())
    told = json.loads(smoked.call("path", "--json").stdout)
    levels = {each["recipe"]: each["level"] for week in told["weeks"] for each in week["recipes"]}
    assert {levels["phase1/gpt-nano"], levels["phase1/data-shakespeare"]} == {"smoked"}
    assert "done" not in levels.values()
    assert [d["proven"] for d in told["deliverables"]] == [False] * 7
    assert told["week"] == 1

    done = smoked.call("log")
    assert done.returncode == 0, done.stderr
    folder = smoked.project.artifacts / "log"
    log = (folder / "week-01.md").read_text()
    assert re.search(r"\| phase1/gpt-nano \| smoke \| cpu \| finished \| .* \| loss 7\.\d+ -> 4\.\d+ \|", log)
    assert re.search(r"\| phase1/gpt-nano \| smoke \| host RAM GiB \| 0\.\d+ \| 0\.\d+ \| [+-]\d+% \|", log)
    assert re.search(r"\| phase1/gpt-nano \| smoke \| steps \| 400 \| 400 \| \+0% \|", log)
    assert (folder / "week-01-curves.png").stat().st_size > 10_000
    assert "None ran on a box with a price." in log

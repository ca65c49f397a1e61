"""The table of faults is made from the tests that inject them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.report.faults import faults, table
from tests.conftest import ROOT


def test_every_fault_is_another_and_is_done_by_a_test() -> None:
    found = faults(ROOT / "tests")
    assert len(found) >= 25
    assert len({fault.what for fault in found}) == len(found)
    for fault in found:
        file, _, name = fault.test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()


def test_a_mark_on_no_test_is_refused(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    file = tests / "test_a.py"
    file.write_text('import pytest\n\n@pytest.mark.fault("kill -9", "all")\ndef test_a() -> None: ...\n')
    assert table(tests).splitlines()[-1] == "| kill -9 | all | [a](tests/test_a.py) |"
    for wrong in ('("kill -9")\ndef test_a', '("kill -9", "all")\ndef helper', '("a", "b" + "c")\ndef test_a'):
        file.write_text(f"import pytest\n\n@pytest.mark.fault{wrong}() -> None: ...\n")
        with pytest.raises(ValueError, match="takes two texts"):
            faults(tests)

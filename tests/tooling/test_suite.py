"""The parts of ``make test``: each test is in one part, and the time of each part is printed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.tooling import suite
from tests.tooling.checkout import CHECKOUT
from tests.tooling.distribution import unit
from tests.tooling.suite import PARTS, Part, run


def _files(part: Part) -> list[str]:
    """The test files that pytest finds for a part."""
    found = [file for path in part.paths for file in _tests_in(CHECKOUT / path)]
    return [file for file in found if not any(Path(file).is_relative_to(path) for path in part.ignored)]


def _tests_in(path: Path) -> list[str]:
    files = [path] if path.is_file() else sorted(path.rglob("test_*.py"))
    return [file.relative_to(CHECKOUT).as_posix() for file in files]


def test_each_file_is_in_one_part() -> None:
    """Each test file is in exactly one part."""
    counted = Counter(file for part in PARTS for file in _files(part))
    assert counted == Counter(_tests_in(CHECKOUT / "tests"))


def test_paths_exist() -> None:
    """The files and folders of each part exist."""
    missing = [path for part in PARTS for path in (*part.paths, *part.ignored) if not (CHECKOUT / path).exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("part", "workers", "arguments"),
    [
        (PARTS[0], None, ["-n", "4", "--dist", "loadscope"]),
        (PARTS[0], 2, ["-n", "2", "--dist", "loadscope"]),
        (PARTS[0], 0, []),
        (PARTS[-1], None, []),
        (PARTS[-1], 2, []),
    ],
)
def test_arguments(part: Part, workers: int | None, arguments: list[str]) -> None:
    """A part that needs the machine for itself runs one test at a time, for any requested number of workers."""
    assert part.arguments(workers) == [*arguments, *(f"--ignore={path}" for path in part.ignored), *part.paths]


def test_what_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Every part runs, also after one that fails. Time over the budget is reported and is not a failure."""
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    (tmp_path / "test_bad.py").write_text("def test_bad(): assert False\n")
    parts = [
        Part(name=name, why="", paths=(f"test_{name}.py",), budget_s=budget_s)
        for name, budget_s in (("bad", 60), ("good", 0))
    ]
    monkeypatch.setattr(suite, "CHECKOUT", tmp_path)
    bad, good = run(parts)
    assert (bad.status, good.status) == (1, 0)
    assert good.cpu_s > 0
    assert "exit status 1" in str(bad)
    assert "OVER BUDGET" not in str(bad)
    assert str(good).endswith("OVER BUDGET")
    assert "1 passed" in capfd.readouterr().out


def test_units() -> None:
    """Tests of processes may run concurrently unless they share a service; those of any other file stay together."""
    assert unit("tests/processes/test_kill.py::test_a[b::c]") == "tests/processes/test_kill.py::test_a[b::c]"
    assert unit("tests/processes/test_bad_bytes.py::test_a") == "tests/processes/test_bad_bytes.py"
    assert unit("tests/store/test_codec.py::test_a[b::c]") == "tests/store/test_codec.py"

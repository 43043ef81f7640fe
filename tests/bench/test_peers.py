"""The hand-written service beside ours: what is missing is named, and its benchmark's results are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import peers, report_peers
from bench.peers import HAND_WRITTEN, OURS, WORKERS, Beside
from bench.servers import CHECKOUT

GOOD = {"not_2xx": 0, "socket_errors": 0, "unprocessed": 0, "cpu_ms": 1.5}


def _benchmark(folder: Path, script: str) -> Path:
    (folder / "bench.py").touch()
    (folder / "ours.sh").write_text(script, encoding="utf-8")
    return folder


def _results(ours: float, **counts: int) -> list[dict[str, object]]:
    theirs = {"peer": HAND_WRITTEN, "end_to_end": 1000.0, **GOOD}
    return [theirs, {"peer": OURS, "end_to_end": ours, **GOOD, **counts}]


def test_no_benchmark(tmp_path: Path) -> None:
    """Without the folder, the reason names it."""
    assert str(tmp_path) in peers.refusal(tmp_path)


def test_no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the programs, and then without the environment, the reason names the command that installs them."""
    folder = _benchmark(tmp_path, "")
    monkeypatch.setattr(peers, "TOOLS", CHECKOUT / "var" / "nothing-here")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert peers.refusal(folder) == "wrk and nginx not installed (make bench-tools)"
    for name in ("wrk", "nginx"):
        (tmp_path / name).touch(mode=0o755)
    assert peers.refusal(folder) == "var/nothing-here has no virtual environment (make bench-tools)"


def test_results(tmp_path: Path) -> None:
    """The benchmark runs once for each number of our workers, and the ratio is that of the medians of its rounds."""
    results = [*_results(1200.0), *_results(1400.0), *_results(1300.0)]
    (tmp_path / "results").write_text("".join(f"{json.dumps(one)}\n" for one in results), encoding="utf-8")
    script = """\
        here=$(dirname "$0")
        echo "$WORKERS $*" >> "$here/calls"
        while [ "$1" != --out ]; do shift; done
        cp "$here/results" "$2"
    """
    said: list[str] = []
    rows = peers.beside(_benchmark(tmp_path, script), 3, 5, said.append)
    assert [row.ratio for row in rows] == [1.3, 1.3]
    assert [problem for row in rows for problem in row.problems] == []
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert [call.split()[:6] for call in calls] == [
        [str(workers), str(CHECKOUT), "peers", "--only", f"{HAND_WRITTEN},{OURS}", "--rounds"] for workers in WORKERS
    ]
    assert "| 1 | 1.30 | 1,300 (1,200..1,400) | 1,000 (1,000..1,000) | 1.50 | 1.50 |" in report_peers.render(rows)


def test_failures(tmp_path: Path) -> None:
    """A benchmark that fails gives its last line and no ratio; only failures of ours are problems."""
    rows = peers.beside(_benchmark(tmp_path, "echo port 8088 is taken; exit 3\n"), 1, 1, lambda _: None)
    assert [row.ratio for row in rows] == [None, None]
    assert [row.remarks for row in rows] == [[f"{tmp_path.name}: exit status 3: port 8088 is taken"]] * 2
    assert [row.problems for row in rows] == [[], []]
    assert report_peers.render(rows) == ""
    assert Beside(1, _results(900.0, unprocessed=3)).problems == [f"{OURS}: 3 unprocessed"]
    broken = Beside(1, [{"peer": HAND_WRITTEN, "error": "no port"}, *_results(900.0)[1:]])
    assert (broken.ratio, broken.remarks, broken.problems) == (None, [f"{HAND_WRITTEN}: no port"], [])
    not_started = Beside(1, [*_results(900.0)[:1], {"peer": OURS, "error": "no answer"}])
    assert (not_started.ratio, not_started.remarks, not_started.problems) == (None, [], [f"{OURS}: no answer"])

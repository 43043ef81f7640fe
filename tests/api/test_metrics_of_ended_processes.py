"""Files of metrics: one set per live process and two for all ended ones, complete and never sparse."""

from __future__ import annotations

import fcntl
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from api.metrics import ended
from api.metrics.ended import add_up, scrape_lock
from server.metrics_files import reserve
from tests.scraping import Samples, of, read
from tests.tooling.checkout import CHECKOUT

# Creates every series that one process can have, with gateways of long names, in the folder of its argument.
_EVERY_SERIES: Final = """
import os, sys
from itertools import product
from pathlib import Path
from server.metrics_files import reserve

gateways = [f"gateway-with-a-long-name-{number}" for number in range(int(sys.argv[2]))]
reserve(Path(sys.argv[1]), os.getpid(), len(gateways))
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]

import falcon.inspect
from api.app import create_app
from api.metrics.meters import OF_DEPOSITS_ONLY, Meters
from domain.account import TERMINAL, Status
from domain.events import Kind
from tests.api.support import DOCUMENTS
from tests.api.world import World

meters = Meters(gateways)
world = World()
app = create_app(world, world, default_currency="USD", needs_keys=True, meters=meters, event_documents=DOCUMENTS)
routes = [route.path for route in falcon.inspect.inspect_routes(app)] + ["unknown"]
STATUSES = (200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 500, 503, 504)
for route, method in product(routes, ("GET", "POST", "unknown")):
    meters.http_seconds.labels(method, route)
    for status in STATUSES:
        meters.http_requests.labels(method, route, str(status))
for number in range(40):
    meters.problems.labels(f"a-problem-of-a-long-name-{number}")
for gateway in gateways:
    for kind, status in product(Kind, (*TERMINAL, Status.AUTHORIZED)):
        if kind is Kind.DEPOSIT or status not in OF_DEPOSITS_ONLY:
            meters.final_seconds.labels(kind, gateway, status)
    for action in ("submit", "resolve"):
        meters.call_seconds.labels(gateway, action)
        for result in ("approved", "declined", "not_received", "unknown", "not_sent"):
            meters.calls.labels(gateway, action, result)
    for result in ("taken", "unverified", "not_stored", "uncertain"):
        meters.callbacks.labels(gateway, result)
    for gauge in (meters.breaker_open, meters.in_flight, meters.waiting, meters.slots):
        gauge.labels(gateway)
for number in range(10):
    meters.mailboxes.labels(f"an-actor-{number}")
"""


def count(folder: Path, pid: int, counted: float, *, routes: int = 1) -> None:
    """Create the files of a process that counted ``counted`` requests on each of ``routes``."""
    reserve(folder, pid, 1)
    for kind, names in (("counter", ["n_total"]), ("histogram", ["h_sum", "h_bucket"])):
        values = MmapedDict(str(folder / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]
        for name in names:
            for route in range(routes):
                more = {"le": "+Inf"} if name == "h_bucket" else {}
                labels = {"route": f"/ä/{route}", **more}
                key = mmap_key(name.partition("_")[0], name, [*labels], [*labels.values()], "A text.")
                values.write_value(key, counted, 0.0)  # type: ignore[no-untyped-call]
        values.close()  # type: ignore[no-untyped-call]


def scrape(folder: Path) -> Samples:
    """The sums over all processes."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return read(generate_latest(registry).decode())


def test_ended_processes_are_added_up_in_two_files(tmp_path: Path) -> None:
    """However many processes ended, two files contain their counts. Their gauges are deleted."""
    for pid in range(1, 40):
        count(tmp_path, pid, pid, routes=pid)
        dead = {pid}
        add_up(tmp_path, dead)
        assert dead == set()
    count(tmp_path, 40, 0.5)
    samples = scrape(tmp_path)
    assert of(samples, "n_total", route="/ä/0") == of(samples, "h_sum", route="/ä/0") == sum(range(40)) + 0.5
    assert of(samples, "h_bucket", route="/ä/38", le="+Inf") == 39
    assert {file.name for file in tmp_path.glob("*.db")} == {
        "counter_dead.db",
        "histogram_dead.db",
        *(f"{name}_40.db" for name in ("counter", "histogram", "gauge_livesum", "gauge_livemax")),
    }


def test_nothing_is_added_up_during_a_scrape(tmp_path: Path) -> None:
    """Nothing is added up during a scrape, which would see a count twice or not at all.

    The next ended process repeats it.
    """
    count(tmp_path, 1, 1)
    count(tmp_path, 2, 2)
    dead = {1}
    with scrape_lock(tmp_path), scrape_lock(tmp_path):
        add_up(tmp_path, dead)
        assert dead == {1}
        assert (tmp_path / "counter_1.db").exists()
    dead.add(2)
    add_up(tmp_path, dead)
    assert dead == set()
    assert of(scrape(tmp_path), "n_total", route="/ä/0") == 3


def test_a_scrape_waits_a_limited_time_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape waits a limited time for the lock, because the process that holds it may be frozen."""
    monkeypatch.setattr(ended, "WAIT_S", 0.0)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError), scrape_lock(tmp_path):
            pass
    with scrape_lock(tmp_path):
        pass


def test_an_unreadable_file_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An unreadable file is logged and ignored: it would fail every scrape."""
    for pid, content in ((1, b""), (2, struct.pack("iii", 100, 0, 5000))):
        (tmp_path / f"counter_{pid}.db").write_bytes(content)
    count(tmp_path, 3, 3)
    add_up(tmp_path, {1, 2, 3})
    assert of(scrape(tmp_path), "n_total", route="/ä/0") == 3
    assert len(caplog.records) == 2


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 300 KiB, as on a full file system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_without_space_for_all_files_there_is_none(tmp_path: Path) -> None:
    """No scrape sees a partial file."""
    with pytest.raises(OSError, match="File too large"):
        reserve(tmp_path, 1, 1)
    assert [*tmp_path.iterdir()] == []


def test_files_are_not_sparse(tmp_path: Path) -> None:
    """Each page of the files exists from the start. An existing file is not changed."""
    count(tmp_path, 1, 1)
    reserve(tmp_path, 1, 3)
    assert of(scrape(tmp_path), "n_total", route="/ä/0") == 1
    assert all(file.stat().st_blocks * 512 >= file.stat().st_size > 0 for file in tmp_path.glob("*.db"))


@pytest.mark.parametrize("gateways", [1, 20])
def test_the_files_hold_every_series(tmp_path: Path, gateways: int) -> None:
    """No file has to grow, which would make it sparse. A third of each is free for future metrics."""
    subprocess.run(
        [sys.executable, "-c", _EVERY_SERIES, str(tmp_path), str(gateways)], cwd=CHECKOUT, check=True, timeout=60
    )
    reserved = tmp_path / "reserved"
    reserved.mkdir()
    reserve(reserved, 0, gateways)
    used = {}
    for file in tmp_path.glob("*.db"):
        name = file.name.rpartition("_")[0]
        values = MmapedDict(str(file), read_mode=True)  # type: ignore[no-untyped-call]
        used[name] = values._used / (reserved / f"{name}_0.db").stat().st_size
        values.close()  # type: ignore[no-untyped-call]
    assert len(used) == 4
    assert max(used.values()) < 2 / 3, used

"""/metrics of two real workers returns one sum, from either worker, also after one of them was killed."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
from collections import Counter
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Final

from prometheus_client.mmap_dict import MmapedDict

from tests.processes.client import Load, Log
from tests.processes.commands import SECRETS
from tests.processes.installation import GATEWAY_A, HOST, Installation
from tests.processes.process import Process, wait_until
from tests.processes.targets import SQLITE, on, on_postgresql
from tests.scraping import Samples, of
from tests.tooling.test_monitoring import served

CENTS: Final = ("50", "02", "05", "03", "50")
"""Success, declined, a 500 after the effect, and pending with a callback."""
LOOKS: Final = 12
"""Enough connections that each worker gets some of them."""

OF_A_BROKER = ("payments_relay_", "payments_work_hints_")
"""How names of metrics begin that only a service with a broker has."""


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the series of ``name`` with these labels."""
    return sum(
        value for (found, has), value in samples.items() if found == name and labels.items() <= dict(has).items()
    )


def files(service: Process) -> dict[int, set[Path]]:
    """The metrics files that each living worker has mapped."""
    maps = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in service.children()}
    return {pid: {*map(Path, re.findall(r"/\S*/payments-metrics-\S+\.db", text))} for pid, text in maps.items()}


def accepted_by(paths: set[Path]) -> float:
    """The number of deposits that the worker with these files has accepted."""
    (path,) = (path for path in paths if path.name.startswith("counter_"))
    read = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    values: list[float] = [value for key, value, *_ in read if "payments_accepted_total" in key]
    return sum(values)


@on(on_postgresql(workers=2))
def test_every_scrape_sums_both_workers(installation: Installation) -> None:
    """Every scrape agrees with the clients; the counters of a killed worker stay, and its gauges disappear."""
    installation.configure_gateways(a=SECRETS["gatewayA"] + GATEWAY_A)
    installation.simulator()
    service = installation.service()
    log, numbers = Log(), count()

    def amount() -> str:
        return f"7.{CENTS[next(numbers) % len(CENTS)]}"

    def send(deposits: int) -> None:
        with Load(log, installation.port, deposits=deposits, amount=amount, gateway=lambda: "gatewayA"):
            pass

    def accepted() -> list[float]:
        return [*map(accepted_by, files(service).values())]

    def both_have_some() -> bool:
        wait_until(lambda: sum(accepted()) == len(log.sent), "all accepted deposits are in the files")
        return all(accepted())

    send(60)
    for _ in range(LOOKS):
        if both_have_some():
            break
        send(10)
    assert both_have_some(), "each worker has accepted deposits"
    sent = len(log.sent)
    assert {one.status for one in log.sent} == {202}
    came = Counter(str(one.amount).partition(".")[2] for one in log.sent)
    ended = {"completed": sent - came["02"], "failed": came["02"]}

    def agrees(samples: Samples) -> bool:
        counts = [total(samples, "payments_transactions_total", status=status) for status in ended]
        return counts == [*ended.values()]

    wait_until(lambda: all(agrees(installation.scrape()) for _ in range(LOOKS)), "every scrape shows all outcomes")
    assert installation.post("/v1/callbacks/gatewayA", {}).status == 401
    wait_until(lambda: _callbacks(installation.scrape()) == (came["03"], 1), "the callbacks are counted")
    samples = installation.scrape()
    assert of(samples, "payments_accepted_total", type="deposit", gateway="gatewayA") == sent
    route = {"method": "POST", "route": "/v1/deposit"}
    assert of(samples, "payments_http_requests_total", status="202", **route) == sent
    assert of(samples, "payments_http_request_seconds_count", **route) == sent
    assert total(samples, "payments_post_to_final_seconds_count") == sent
    assert total(samples, "payments_gateway_calls_total", result="unknown") == came["05"]
    assert total(samples, "payments_gateway_calls_total", result="declined") == came["02"]
    found = {name for name, _ in samples}
    every = {f"{name}_sum" if kind == "histogram" else name for name, (kind, _) in served().items()}
    missing = every - found
    assert {name for name in missing if not name.startswith(OF_A_BROKER)} == set(), "every metric is there"

    victim, paths = next(iter(files(service).items()))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: service.said("ready") == 3, "another worker is ready")
    wait_until(lambda: not any(path.exists() for path in paths), "its counts are among those of ended processes")
    wait_until(lambda: of(installation.scrape(), "payments_processes") == 2, "both workers are counted")
    assert of(installation.scrape(), "payments_bulkhead_slots", gateway="gatewayA") == 2 * 20
    assert all(agrees(installation.scrape()) for _ in range(LOOKS))


def replace_worker(installation: Installation, service: Process) -> None:
    """Kill a worker, and wait until another one is ready."""
    ready = service.said("ready")
    os.kill(service.children()[0], signal.SIGKILL)
    installation.wait_for_workers(service, ready + 1)


def shared(installation: Installation) -> float | None:
    """Whether the answering worker has summed all workers."""
    assert installation.get("/healthz").status == 200
    samples = installation.scrape()
    assert total(samples, "payments_http_requests_total") > 0
    return of(samples, "payments_metrics_shared")


@on(SQLITE)
def test_connections_and_what_is_no_request(installation: Installation) -> None:
    """A client that does not send HTTP is counted by its status, and every open connection is counted."""
    installation.service()
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection((HOST, installation.port))) for _ in range(3)]
        clients[0].sendall(b"no HTTP at all\r\n\r\n")
        assert clients[0].recv(12) == b"HTTP/1.1 400"
        wait_until(lambda: (of(installation.scrape(), "payments_connections") or 0) >= 2, "the others are open")
        samples = installation.scrape()
    assert of(samples, "payments_unreadable_requests_total", status="400") == 1
    assert [name for name, _ in samples if name.startswith(OF_A_BROKER)] == [], "there is no broker, and no lag"


@on(on_postgresql(workers=1))
def test_metrics_cannot_end_the_service(installation: Installation) -> None:
    """Without the metrics folder, or without disk space for it, workers start and can be scraped."""
    service = installation.service()
    assert shared(installation) == 1
    ((mapped, *_),) = files(service).values()
    shutil.rmtree(mapped.parent)
    assert shared(installation) == 0, "it returns only its own metrics"
    replace_worker(installation, service)
    assert shared(installation) == 1, "the folder is there again"
    assert "cannot" not in service.out, "no error is logged"
    # The limit of a file's size simulates a full disk.
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (128 * 1024, resource.RLIM_INFINITY))
    replace_worker(installation, service)
    assert shared(installation) == 0, "it returns only its own metrics again"
    assert service.out.count("workers cannot share their metrics") == 1
    assert not service.ended
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    assert not mapped.parent.exists(), "no file is left"


def _callbacks(samples: Samples) -> tuple[float, float]:
    return (
        total(samples, "payments_callbacks_total", result="taken"),
        total(samples, "payments_callbacks_total", result="unverified"),
    )

"""``manage.py tail`` as a process: over a kill of the real service that it follows, and into a pipe that closes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes.installation import CHECKOUT, Installation, installed
from tests.processes.process import PATIENCE_S, wait_until


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """Nothing runs yet."""
    with installed(tmp_path) as it:
        yield it


def deposit(installation: Installation) -> str:
    """A new deposit's id."""
    answer = installation.deposit()
    assert answer.status == 202
    transaction_id: str = answer.body["transaction_id"]
    return transaction_id


def stored(installation: Installation, after: int) -> list[dict[str, Any]]:
    """All events above a position: while a busy machine starts a command, many come."""
    events: list[dict[str, Any]] = []
    while page := installation.get(f"/v1/events?after={after}&limit=200").body["items"]:
        events += page
        after = page[-1]["position"]
    return events


def test_over_a_kill_of_the_service(installation: Installation) -> None:
    """From now on, each event once and in order; Ctrl-C ends it with 130 and no further word."""
    service = installation.service()
    earlier = deposit(installation)
    last = int(installation.get("/v1/events?after=latest").body["next_cursor"])
    tail = installation.manage("tail", "--json")
    known = 0

    def is_following() -> bool:  # it has begun as soon as it shows what came after it began
        nonlocal known
        known += 1
        return deposit(installation) in tail.out

    wait_until(is_following, "the events are followed")
    service.end()
    wait_until(lambda: "trying again" in tail.err, "it is told that nobody answers")
    installation.service()
    newest = deposit(installation)
    wait_until(lambda: newest in tail.out, "the newest is shown")
    tail.send(signal.SIGINT)
    assert tail.wait() == 130
    shown = [json.loads(line) for line in tail.out.splitlines()]
    assert earlier not in tail.out
    begin, end = shown[0]["position"], shown[-1]["position"]
    assert begin > last
    assert shown == [event for event in stored(installation, begin - 1) if event["position"] <= end]
    first, second = tail.err.splitlines()
    assert first.endswith("; trying again")
    assert second.startswith("connected again; continuing after position ")


def test_a_pipe_that_closes(installation: Installation) -> None:
    """Whoever has read enough ends it, without a word and with status 0."""
    installation.service()
    deposit(installation)
    command = [sys.executable, "manage.py", "tail", "--from-start"]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=installation.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert b"DepositReceived" in tail.stdout.readline()
        tail.stdout.close()
        deposit(installation)
        assert tail.wait(PATIENCE_S) == 0
        assert tail.stderr.read() == b""

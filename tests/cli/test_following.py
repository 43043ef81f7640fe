"""``manage.py tail`` as a process: across a kill of the real service, and into a pipe that closes."""

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
    """An installation without a running process."""
    with installed(tmp_path) as it:
        yield it


def deposit(installation: Installation) -> str:
    """Make a deposit and return its id."""
    answer = installation.deposit()
    assert answer.status == 202
    transaction_id: str = answer.body["transaction_id"]
    return transaction_id


def stored(installation: Installation, after: int) -> list[dict[str, Any]]:
    """All events after a position. There can be many while a busy machine starts a command."""
    events: list[dict[str, Any]] = []
    while page := installation.get(f"/v1/events?after={after}&limit=200").body["items"]:
        events += page
        after = page[-1]["position"]
    return events


def test_tail_continues_after_a_kill_of_the_service(installation: Installation) -> None:
    """After a kill of the service, ``tail`` shows each event once and in order. Ctrl-C ends it silently with 130."""
    service = installation.service()
    earlier = deposit(installation)
    last = int(installation.get("/v1/events?after=latest").body["next_cursor"])
    tail = installation.manage("tail", "--json")
    known = 0

    def is_following() -> bool:  # its start is past once it shows a later event
        nonlocal known
        known += 1
        return deposit(installation) in tail.out

    wait_until(is_following, "the events are followed")
    service.end()
    wait_until(lambda: "trying again" in tail.err, "the failed connection is reported")
    installation.service()
    newest = deposit(installation)
    wait_until(lambda: newest in tail.out, "the newest event is shown")
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
    """When its reader closes the pipe, ``tail`` ends without a message and with status 0."""
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

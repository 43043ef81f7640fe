"""``manage.py tail`` against a service that fails: each event once and in order after every kind of failure."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

import manage
from tests.cli.peer import listing, peer, problem


class Pauses:
    """Replaces ``time.sleep``: records each wait and returns at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        monkeypatch.setattr("cli.tail.time.sleep", self.seconds.append)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """The recorded waits."""
    return Pauses(monkeypatch)


def event(position: int, customer: str = "c1", type_: str = "DepositReceived") -> dict[str, Any]:
    """An event as the API gives it."""
    return {
        "position": position,
        "stream_name": "main",
        "stream_id": customer,
        "version": position,
        "type": type_,
        "occurred_at": "2026-11-21T10:00:00.000000Z",
        "data": {"reason": "a\x1b[2Jb"},
        "metadata": {},
        "hash": "00",
    }


END = problem(401, "enough")
"""The answer that ends ``tail`` in these tests."""


def positions(out: str) -> list[int]:
    """The positions of lines of JSON."""
    return [json.loads(line)["position"] for line in out.splitlines()]


def test_each_event_is_shown_once_across_failures(capsys: pytest.CaptureFixture[str], pauses: Pauses) -> None:
    """After a failure ``tail`` continues after the last event shown. Its waits grow, and it reports each failure."""
    failures = (None, problem(503, "starting"), (502, b""), problem(429, "slowly"))
    with peer(listing(event(4), event(7)), *failures, listing(), None, listing(event(9)), END) as service:
        assert manage.main(["tail", "--json", "--after", "3", "--url", service.url]) == 1
    out, err = capsys.readouterr()
    assert positions(out) == [4, 7, 9]
    targets = [request.target.split("&")[0] for request in service.requests]
    assert targets == ["/v1/events?after=3", *["/v1/events?after=7"] * 7, "/v1/events?after=9"]
    assert pauses.seconds == [0.25, 0.5, 1.0, 2.0, 0.25]
    lines = err.splitlines()
    assert [line.rpartition("; ")[2] for line in lines[:-1]] == ["trying again", "continuing after position 7"] * 2
    assert lines[-1] == "manage.py tail: 401 enough"


def test_the_default_start_is_now(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a start position, ``tail`` requests the last one, and shows the events after it."""
    with peer(listing(cursor="41"), listing(event(42)), END) as service:
        assert manage.main(["tail", "--json", "--url", service.url]) == 1
    assert positions(capsys.readouterr().out) == [42]
    assert [request.target.split("&")[0] for request in service.requests] == [
        "/v1/events?after=latest",
        "/v1/events?after=41",
        "/v1/events?after=42",
    ]


def test_a_first_request_that_fails_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """If the first request cannot reach the service, ``tail`` ends at once, since the address may be wrong."""
    assert manage.main(["tail", "--url", "http://127.0.0.1:9"]) == 4
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], [1, 2, 3]),
        (["--customer", "c2"], [2]),
        (["--type", "DepositFailed"], [3]),
        (["--type", "DepositFailed", "--type", "DepositReceived"], [1, 2, 3]),
        (["--customer", "c2", "--type", "DepositFailed"], []),
    ],
)
def test_filters(capsys: pytest.CaptureFixture[str], options: list[str], shown: list[int]) -> None:
    """Events that do not match the filters are not shown, but count as read."""
    events = [event(1), event(2, "c2"), event(3, type_="DepositFailed")]
    with peer(listing(*events), END) as service:
        assert manage.main(["tail", "--json", "--from-start", *options, "--url", service.url]) == 1
    assert positions(capsys.readouterr().out) == shown
    assert service.requests[1].target.startswith("/v1/events?after=3&")


def test_output_for_operators(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event is one line, without control characters."""
    with peer(listing(event(5)), END) as service:
        assert manage.main(["tail", "--from-start", "--url", service.url]) == 1
    assert capsys.readouterr().out == ("2026-11-21 10:00:00Z  5  main/c1  5  DepositReceived  reason='a\\x1b[2Jb'\n")


def test_the_wait_is_shorter_than_the_timeout() -> None:
    """The server's wait is half of the timeout, so that an empty answer arrives in time."""
    with peer(END) as service:
        manage.main(["tail", "--after", "0", "--timeout", "3", "--url", service.url])
    assert service.requests[0].target == "/v1/events?after=0&limit=200&wait=1.500"


def test_values_with_spaces_are_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    """Values with spaces or quotes are quoted, so that a shell splits the line into the same values."""
    recorded = {**event(4), "data": {"amount": "10.00", "reason": "paid in 'cash' fee=2", "details": {"order": "a b"}}}
    with peer(listing(recorded), END) as service:
        assert manage.main(["tail", "--after", "3", "--url", service.url]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert shlex.split(line)[6:] == ["amount=10.00", "reason=paid in 'cash' fee=2", "details=order=a b"]


def test_with_api_keys_cursors_replace_positions(capsys: pytest.CaptureFixture[str]) -> None:
    """With API keys, ``tail`` continues from cursor to cursor, and shows the cursor in place of the position."""
    events = [{**event(1), "cursor": f"ZT{number}"} for number in (1, 2)]
    for one in events:
        del one["position"]
    with peer(listing(cursor="ZT0"), listing(events[0]), listing(events[1]), END) as service:
        assert manage.main(["tail", "--url", service.url]) == 1
    targets = [request.target.split("&")[0] for request in service.requests]
    assert targets == [f"/v1/events?after={after}" for after in ("latest", "ZT0", "ZT1", "ZT2")]
    assert [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()] == ["ZT1", "ZT2"]


def test_from_the_first_event(capsys: pytest.CaptureFixture[str]) -> None:
    """``--from-start`` sends no position, which is the beginning with and without API keys."""
    with peer(listing(event(1)), END) as service:
        manage.main(["tail", "--json", "--from-start", "--url", service.url])
    assert service.requests[0].target.startswith("/v1/events?limit=200&")
    assert positions(capsys.readouterr().out) == [1]


def test_a_restored_database_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """After a restore the next events are unknown.

    ``tail`` reports this and ends, because continuing could skip events.
    """
    unknown = {"type": "/problems/position-unknown", "title": "t", "status": 410, "detail": "d", "generation": 1}
    with peer(listing(event(3)), (410, unknown)) as service:
        assert manage.main(["tail", "--after", "2", "--url", service.url]) == 1
    err = capsys.readouterr().err
    assert "position 3 is unknown" in err
    assert "--from-start" in err

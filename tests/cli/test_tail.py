"""``manage.py tail`` against a service that misbehaves: each event once and in order, whatever happens between."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

import manage
from tests.cli.peer import listing, peer, problem


class Pauses:
    """In place of the clock: nobody waits, and every pause is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        monkeypatch.setattr("cli.tail.time.sleep", self.seconds.append)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """Nobody waits."""
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
"""What ends a tail in these tests: it is no matter of time."""


def positions(out: str) -> list[int]:
    """The positions of the lines of JSON."""
    return [json.loads(line)["position"] for line in out.splitlines()]


def test_each_once_over_every_trouble(capsys: pytest.CaptureFixture[str], pauses: Pauses) -> None:
    """It goes on after the last event that it has shown, waits longer each time, and says so once."""
    troubles = (None, problem(503, "starting"), (502, b""), problem(429, "slowly"))
    with peer(listing(event(4), event(7)), *troubles, listing(), None, listing(event(9)), END) as service:
        assert manage.main(["tail", "--json", "--after", "3", "--url", service.url]) == 1
    out, err = capsys.readouterr()
    assert positions(out) == [4, 7, 9]
    asked = [asked.target.split("&")[0] for asked in service.asked]
    assert asked == ["/v1/events?after=3", *["/v1/events?after=7"] * 7, "/v1/events?after=9"]
    assert pauses.seconds == [0.25, 0.5, 1.0, 2.0, 0.25]
    lines = err.splitlines()
    assert [line.rpartition("; ")[2] for line in lines[:-1]] == ["trying again", "continuing after position 7"] * 2
    assert lines[-1] == "manage.py tail: 401 enough"


def test_from_now_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a place to begin at it asks for the last one, and shows what comes after."""
    with peer(listing(cursor="41"), listing(event(42)), END) as service:
        assert manage.main(["tail", "--json", "--url", service.url]) == 1
    assert positions(capsys.readouterr().out) == [42]
    assert [asked.target.split("&")[0] for asked in service.asked] == [
        "/v1/events?after=latest",
        "/v1/events?after=41",
        "/v1/events?after=42",
    ]


def test_a_service_that_never_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    """To begin with, somebody must answer: a wrong address is told at once."""
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
    """What does not fit is left out, and counts as seen."""
    events = [event(1), event(2, "c2"), event(3, type_="DepositFailed")]
    with peer(listing(*events), END) as service:
        assert manage.main(["tail", "--json", "--from-start", *options, "--url", service.url]) == 1
    assert positions(capsys.readouterr().out) == shown
    assert service.asked[1].target.startswith("/v1/events?after=3&")


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each event, on which nothing moves the cursor."""
    with peer(listing(event(5)), END) as service:
        assert manage.main(["tail", "--from-start", "--url", service.url]) == 1
    assert capsys.readouterr().out == ("2026-11-21 10:00:00Z  5  main/c1  5  DepositReceived  reason='a\\x1b[2Jb'\n")


def test_the_wait_is_shorter_than_the_patience() -> None:
    """An answer that nothing came is in time, whatever the time limit is."""
    with peer(END) as service:
        manage.main(["tail", "--after", "0", "--timeout", "3", "--url", service.url])
    assert service.asked[0].target == "/v1/events?after=0&limit=200&wait=1.500"


def test_values_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """A line splits as a shell splits it: what holds spaces or quotes is quoted."""
    spoken = {**event(4), "data": {"amount": "10.00", "reason": "paid in 'cash' fee=2", "details": {"order": "a b"}}}
    with peer(listing(spoken), END) as service:
        assert manage.main(["tail", "--after", "3", "--url", service.url]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert shlex.split(line)[6:] == ["amount=10.00", "reason=paid in 'cash' fee=2", "details=order=a b"]


def test_where_keys_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """It goes on from cursor to cursor, and shows that in place of a position."""
    events = [{**event(1), "cursor": f"ZT{number}"} for number in (1, 2)]
    for one in events:
        del one["position"]
    with peer(listing(cursor="ZT0"), listing(events[0]), listing(events[1]), END) as service:
        assert manage.main(["tail", "--url", service.url]) == 1
    asked = [asked.target.split("&")[0] for asked in service.asked]
    assert asked == [f"/v1/events?after={after}" for after in ("latest", "ZT0", "ZT1", "ZT2")]
    assert [line.split("  ")[1] for line in capsys.readouterr().out.splitlines()] == ["ZT1", "ZT2"]


def test_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any place, which is the beginning where keys are needed as well."""
    with peer(listing(event(1)), END) as service:
        manage.main(["tail", "--json", "--from-start", "--url", service.url])
    assert service.asked[0].target.startswith("/v1/events?limit=200&")
    assert positions(capsys.readouterr().out) == [1]


def test_a_service_that_was_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    """What follows is not known: it says so, and ends, since going on would skip events."""
    unknown = {"type": "/problems/position-unknown", "title": "t", "status": 410, "detail": "d", "generation": 1}
    with peer(listing(event(3)), (410, unknown)) as service:
        assert manage.main(["tail", "--after", "2", "--url", service.url]) == 1
    err = capsys.readouterr().err
    assert "position 3 is unknown" in err
    assert "--from-start" in err

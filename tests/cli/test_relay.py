"""``manage.py relay``: what operators see of the relays, and how they repeat and skip events."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from store.backend import PaymentStore
from store.backends import backend_of
from store.event_json import POSITIONS_APART
from tests.postgresql.servers import new_database
from tests.processes.installation import CHECKOUT
from tests.store.builders import Customer

MEMBERS = [
    "relay",
    "leader",
    "lease_left_s",
    "generation",
    "position",
    "last_position",
    "lag_events",
    "lag_s",
    "refused",
    "problems",
    "moves",
]
"""Of the JSON of a relay, which scripts read."""


def relay(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``relay`` on the database ``url``."""
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": url}
    command = [sys.executable, "manage.py", "relay", *options]
    return subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False, timeout=60)


def shown(url: str, *options: str, status: int = 0) -> dict[str, object]:
    """The only object of a command with ``--json`` that ends with this status."""
    done = relay(url, *options, "--json")
    assert (done.returncode, done.stderr) == (status, "")
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/payments.db"
        backend_of(url, root=CHECKOUT).migrate()
        yield url
    else:
        with new_database(request.getfixturevalue("postgresql_url")) as url:
            backend_of(url, root=CHECKOUT).migrate()
            yield url


@pytest.fixture
def store(url: str) -> Iterator[PaymentStore]:
    """The store of a service that runs, with the events 1 to 3."""
    with closing(backend_of(url, root=CHECKOUT).open(clock=lambda: datetime.now(UTC))) as store:
        customer = Customer()
        store.append([customer.deposit("t1"), customer.complete("t1")])
        yield store


def test_before_a_relay_has_started(url: str) -> None:
    """There is nothing to show and nothing to move."""
    done = relay(url, "status")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("no relay has started yet: start a process of the role relay or all")
    done = relay(url, "status", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    done = relay(url, "rewind", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "manage.py relay: there is no relay events: none has started yet\n"


def test_the_status(url: str, store: PaymentStore) -> None:
    """Leader, position, lag in events and seconds. A relay that publishes is no problem, however far it is behind."""
    store.lead("events", "host-1", 600.0)
    store.advance("events", 1, 1, 0)
    it = shown(url, "status")
    assert list(it) == MEMBERS
    lease_left_s, lag_s = it.pop("lease_left_s"), it.pop("lag_s")
    assert isinstance(lease_left_s, float)
    assert 500 < lease_left_s <= 600
    assert isinstance(lag_s, float)
    assert lag_s > 10_000, "the events of the builders are of the past"
    assert it == {
        "relay": "events",
        "leader": "host-1",
        "generation": 0,
        "position": 1,
        "last_position": 3,
        "lag_events": 2,
        "refused": None,
        "problems": [],
        "moves": [],
    }
    text = relay(url, "status").stdout
    assert "relay events: led by host-1 for another" in text
    assert "published up to position 1, the last one is 3 (generation 0)" in text
    assert "up to 2 events behind; the oldest that is not published: " in text
    store.advance("events", 1, 3, 0)
    assert "every event is published" in relay(url, "status").stdout
    assert shown(url, "status", "--lag-max", "0")["lag_s"] == 0


def test_a_refused_event(url: str, store: PaymentStore) -> None:
    """The status shows which event it is and the command that leaves it out, and ends with 1."""
    store.lead("events", "host-1", 600.0)
    store.advance("events", 1, 1, 0)
    store.note_refusal("events", 1, 2, "too large\x1b[2J")
    it = shown(url, "status", status=1)
    (_, event, _) = store.all_events(None, after=0, limit=3)
    refused = it["refused"]
    assert isinstance(refused, dict)
    assert refused.pop("age_s") < 60
    assert refused == {
        "position": 2,
        "reason": "too large\x1b[2J",
        "event": {
            "event_id": event.event_id,
            "type": event.type,
            "stream_name": "main",
            "stream_id": "customer-1",
            "version": 2,
        },
    }
    assert it["problems"] == ["refused"]
    text = relay(url, "status").stdout
    assert "stays before position 2, tried " in text
    assert f"{event.type}, event {event.event_id}, version 2 of main/customer-1" in text
    assert "manage.py relay skip 2 --reason" in text
    assert "\x1b" not in text


def test_without_a_leader(url: str, store: PaymentStore) -> None:
    """The status says what to do, and ends with 1. So it does for a lag above the given one."""
    store.lead("events", "host-1", 600.0)
    assert shown(url, "status", "--lag-max", "10", status=1)["problems"] == ["lag"]
    store.resign("events", "host-1")
    it = shown(url, "status", status=1)
    assert (it["leader"], it["problems"]) == (None, ["without-leader"])
    assert "nothing is published: start a process of the role relay or all" in relay(url, "status").stdout
    assert relay(url, "status", "--lag-max", "1.5").returncode == 2


def test_what_publishes_no_events_has_no_position(url: str, store: PaymentStore) -> None:
    """The announcer of work has a leader only. That of the relay decides about the exit status."""
    store.lead("work", "host-2", 600.0)
    it = shown(url, "status", status=1)
    assert (it["relay"], it["leader"], it["problems"]) == ("work", "host-2", [])
    assert "lag_events" not in it
    store.lead("events", "host-1", 600.0)
    store.resign("work", "host-2")
    done = relay(url, "status")
    assert done.returncode == 0
    assert done.stdout.endswith("relay work: without a leader\n")


def test_a_skipped_event(url: str, store: PaymentStore) -> None:
    """A reason is required. The act is on record, and the next event may be skipped then."""
    store.lead("events", "host-1", 600.0)
    assert relay(url, "skip", "1").returncode == 2
    done = relay(url, "skip", "1", "--reason", "told the consumers")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the DepositReceived at position 1 is left out")
    lease = store.lead("events", "host-1", 600.0)
    assert (lease and lease.token, lease and lease.position) == (2, 1)
    it = shown(url, "status")
    assert isinstance(it["moves"], list)
    (move,) = it["moves"]
    assert (move["action"], move["from_position"], move["to_position"]) == ("skip", 0, 1)
    assert (move["who"], move["reason"]) == (getpass.getuser(), "told the consumers")
    assert "skip from 0 to 1 by" in relay(url, "status").stdout


def test_only_the_next_event_is_skipped(url: str, store: PaymentStore) -> None:
    """The line names it."""
    store.lead("events", "host-1", 600.0)
    done = relay(url, "skip", "2", "--reason", "a slip")
    assert (done.returncode, done.stdout) == (1, "")
    assert "only the next event of the relay events after position 0 can be skipped (it is 1), not 2" in done.stderr


def test_repeated_events(url: str, store: PaymentStore) -> None:
    """Back to any position; never forward."""
    store.lead("events", "host-1", 600.0)
    store.advance("events", 1, 3, 0)
    assert relay(url, "rewind", "4").returncode == 1
    assert shown(url, "rewind", "1", "--reason", "lost") == {"relay": "events", "from_position": 3, "to_position": 1}
    lease = store.lead("events", "host-1", 600.0)
    assert lease is not None
    assert (lease.token, lease.position) == (2, 1)


def test_positions_carry_the_generation(url: str, store: PaymentStore) -> None:
    """They are those of the feed. One of an earlier generation names other events, and is refused. 0 is valid."""
    store.lead("events", "host-1", 600.0)
    store.advance("events", 1, 2, 0)
    store.begin_generation(0)
    assert shown(url, "status")["position"] == POSITIONS_APART + 2
    done = relay(url, "rewind", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "of generation 0, and the database is in generation 1" in done.stderr
    assert shown(url, "rewind", str(POSITIONS_APART + 1))["to_position"] == POSITIONS_APART + 1
    assert relay(url, "rewind", "0").returncode == 0


@pytest.mark.parametrize("position", ["", "-1", "x", "\u0661", "1.0", str(2**63)])
def test_other_texts_are_no_positions(tmp_path: Path, position: str) -> None:
    """They are refused before anything is opened."""
    done = relay(f"sqlite:///{tmp_path}/absent.db", "rewind", position)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    """One line says so."""
    done = relay(f"sqlite:///{tmp_path}/absent.db", "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("manage.py relay: ")
    assert len(done.stderr.splitlines()) == 1

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


def relay(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``relay`` on the database ``url``."""
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": url}
    command = [sys.executable, "manage.py", "relay", *options]
    return subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False, timeout=60)


def shown(url: str, *options: str) -> dict[str, object]:
    """The only object of a successful command with ``--json``."""
    done = relay(url, *options, "--json")
    assert (done.returncode, done.stderr) == (0, "")
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
    assert relay(url, "status").stdout == "no relay has started yet\n"
    done = relay(url, "rewind", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "manage.py relay: there is no relay events: none has started yet\n"


def test_the_status(url: str, store: PaymentStore) -> None:
    """Leader, position, backlog and the refused event."""
    store.lead("events", "host-1", 600.0)
    store.advance("events", 1, 1, 0)
    store.note_refusal("events", 1, 2, "too large\x1b[2J")
    it = shown(url, "status")
    assert {name: it[name] for name in ("relay", "leader", "position", "last_position", "backlog", "moves")} == {
        "relay": "events",
        "leader": "host-1",
        "position": 1,
        "last_position": 3,
        "backlog": 2,
        "moves": [],
    }
    assert isinstance(it["refused"], dict)
    assert (it["refused"]["position"], it["refused"]["reason"]) == (2, "too large\x1b[2J")
    text = relay(url, "status").stdout
    assert "relay events: led by host-1 for another" in text
    assert "published up to position 1, the last one is 3 (2 behind)" in text
    assert "stays before position 2" in text
    assert "\x1b" not in text


def test_the_announcer_of_work(url: str, store: PaymentStore) -> None:
    """It has a leader, and no position: a backlog of it would mean nothing."""
    store.lead("work", "host-1", 600.0)
    it = shown(url, "status")
    assert (it["relay"], it["leader"], it.keys()) == ("work", "host-1", {"relay", "leader", "lease_left_s", "moves"})
    store.lead("events", "host-2", 600.0)
    events, work = relay(url, "status").stdout.splitlines()[::2]
    assert events.startswith("relay events: led by host-2 for another")
    assert work.startswith("relay work: led by host-1 for another")
    assert len(relay(url, "status").stdout.splitlines()) == 3


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

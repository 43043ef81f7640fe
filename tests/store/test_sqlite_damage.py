"""Work with damaged rows: it waits for an operator, is listed, and delays no other work."""
# ruff: noqa: S608 - the statements are this file's own

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.errors import CorruptStoreError
from store.port import Committed, DeadLetterFilter, DeliveryCertainty, Fence, WorkError, WorkState
from store.queries import DeadLetter
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.store.builders import OWNER, START, Clock, Customer, Step, move
from tests.store.tampering import tamper

KEYS = ["t1", "t2", "t3"]
ERROR = WorkError(START, "connect timeout")
ERRORS_EDITS = ["'{'", "'5'", "'[5]'", "'null'", "CAST(x'22ff22' AS TEXT)", "'[[9223372036854775807, \"x\"]]'"]
TRANSACTION_EDITS = [
    "status = 'odd'",
    "kind = 'odd'",
    "details = '{'",
    "created_at = 1 << 62",
    "gateway_reference = CAST(x'ff' AS TEXT)",
]
WORK_EDITS = ["action = 'odd'", "doubt = 9"]
EDITS = [
    *(f"UPDATE work SET errors = {text} WHERE work_id = 't2'" for text in ERRORS_EDITS),
    *(f"UPDATE transactions SET {text} WHERE transaction_id = 't2'" for text in TRANSACTION_EDITS),
    *(f"UPDATE work SET {text} WHERE work_id = 't2'" for text in WORK_EDITS),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with three dead letters that are due."""
    path = tmp_path / "payments.db"
    migrate(path)
    with opened(path) as store:
        store.register_owner(OWNER)
        customer = Customer()
        store.append([customer.deposit(key, owner=OWNER) for key in KEYS])
        moves = [move(key, state=WorkState.DEAD, errors=(ERROR,), attempts=3) for key in KEYS]
        assert store.append([customer.write(Step(work=moves))]) == [Committed()]
    return path


@contextmanager
def opened(path: Path) -> Iterator[SqliteStore]:
    """The store, closed at the end."""
    store = SqliteStore(path, clock=Clock())
    try:
        yield store
    finally:
        store.close()


def letters(store: SqliteStore) -> dict[str, DeadLetter]:
    """All dead letters. Each one read on its own must equal its entry in the list."""
    listed = store.dead_letters("main", DeadLetterFilter(), before=None, limit=10)
    for letter in listed:
        assert store.dead_letter("main", letter.item.work_id) == letter
    return {letter.item.work_id: letter for letter in listed}


@pytest.mark.parametrize("edit", EDITS)
def test_a_damaged_dead_letter_is_listed(path: Path, edit: str) -> None:
    """A dead letter with unreadable values is listed with all readable ones, and so are its neighbours."""
    with opened(path) as store:
        sound = letters(store)
    tamper(path, edit)
    with opened(path) as store:
        found = letters(store)
    assert list(found) == KEYS[::-1]
    assert (found["t1"], found["t3"]) == (sound["t1"], sound["t3"])
    item, before = found["t2"].item, sound["t2"].item
    assert (item.token, item.stream, item.gateway, item.attempts) == (before.token, before.stream, before.gateway, 3)
    assert item.errors == (() if "SET errors" in edit else (ERROR,))
    assert item.transaction == (None if "UPDATE transactions" in edit else before.transaction)
    assert item.certainty is (DeliveryCertainty.SENT if "doubt" in edit else DeliveryCertainty.NOT_SENT), (
        "an unknown certainty counts as sent"
    )
    assert found["t2"].transaction_id == "t2"
    assert found["t2"].next_attempt_at == sound["t2"].next_attempt_at


@pytest.mark.parametrize("column", ["next_attempt_at", "created_at"])
def test_a_time_beyond_all_calendars(path: Path, column: str) -> None:
    """A dead letter with unreadable times is listed without them."""
    tamper(path, f"UPDATE work SET {column} = 1 << 62 WHERE work_id = 't2'")
    with opened(path) as store:
        letter = letters(store)["t2"]
    assert letter.item.errors == (ERROR,)
    assert letter.next_attempt_at == (None if column == "next_attempt_at" else START)


@pytest.mark.parametrize("edit", EDITS)
def test_damaged_work_is_parked_when_it_is_claimed(path: Path, edit: str) -> None:
    """The neighbours of damaged work are claimed.

    It is parked for an operator, with the reason after its readable errors.
    """
    tamper(path, edit)
    with opened(path) as store:
        assert [item.work_id for item in store.claim_work(OWNER, "gatewayA", 10)] == ["t1", "t3"]
        (letter,) = letters(store).values()
        assert (letter.item.work_id, letter.state, letter.next_attempt_at) == ("t2", WorkState.PARKED, None)
        *before, reason = letter.item.errors
        assert before == ([] if "SET errors" in edit else [ERROR])
        assert reason.at == START
        assert reason.error
        assert store.next_due_s("gatewayA") is None


def test_damaged_work_continues_after_a_correction(path: Path) -> None:
    """Parked work whose row was corrected continues after an operator retries it."""
    tamper(path, "UPDATE transactions SET status = 'odd' WHERE transaction_id = 't2'")
    with opened(path) as store:
        store.claim_work(OWNER, "gatewayA", 10)
    tamper(path, "UPDATE transactions SET status = 'pending' WHERE transaction_id = 't2'")
    with opened(path) as store:
        assert store.retry_dead("main", DeadLetterFilter(work_id="t2")) == 1
        (item,) = store.claim_work(OWNER, "gatewayA", 10)
        assert (item.work_id, item.attempts, item.errors[0]) == ("t2", 3, ERROR)
        customer = Customer()
        snapshot = store.load(customer.stream, ["t2"])
        customer.account, customer.head = snapshot.account, snapshot.head
        assert store.append([customer.complete("t2", fence=Fence("t2", item.token))]) == [Committed()]


@pytest.mark.parametrize("amount", ["-1", "1.0", "true", "null", '"1"', "18446744073709551616"])
@pytest.mark.parametrize("pair", ["[{}, 0]", "[0, {}]"])
def test_a_damaged_balance_is_not_loaded(path: Path, pair: str, amount: str) -> None:
    """No command is decided on an amount that the service cannot have written."""
    tamper(path, f"""UPDATE heads SET balances = '{{"USD": {pair.format(amount)}}}'""")
    with opened(path) as store:
        stream = Customer().stream
        for read in (store.load, store.customer):
            with pytest.raises(CorruptStoreError, match="the amounts of USD are not whole numbers from 0"):
                read(stream)

"""A new operation: a command, its event and its operation, all defined here, work without other changes.

For a command of the service, each entry that this module adds to a table is one line in ``domain`` or
``store/codec.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from actors.customer.command_operation import CommandOperation
from actors.customer.context import CustomerContext
from actors.customer.idempotency import KEY_REUSED, IdempotencyKey, claim_of
from actors.customer.operation import Batch
from actors.messages import Loaded, Passivate, Written
from actors.replies import Accepted, NotStored, Replayed, Reply
from domain import events, state_machine
from domain.account import Account, Refused, UnknownTransactionError
from domain.evolutions import unchanged
from domain.outcomes import Declined
from domain.state_machine import decide
from store import codec
from store.codec import Metadata, decode
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import Claim, Part, WorkItem
from tests.actors.customer.fault_injection import Fatal
from tests.actors.customer.fixtures import DEADLINE_S, Customers, answer
from tests.actors.support import Trouble, TroubledStore, stream

WHO = Metadata("r-1", who="ann")


# the lines in the domain


@dataclass(frozen=True, slots=True)
class AddNote:
    """Add a note to a transaction that has no end yet."""

    transaction_id: str
    note_id: str
    text: str


@dataclass(frozen=True, slots=True)
class NoteAdded:
    """A note was added."""

    transaction_id: str
    note_id: str
    text: str


def add_note(account: Account, command: AddNote) -> Any:
    """The decision."""
    transaction = account.transactions.get(command.transaction_id)
    if transaction is None:
        raise UnknownTransactionError(command.transaction_id)
    if transaction.status.terminal:
        return Refused("already-final", f"It is {transaction.status}.")
    return (NoteAdded(command.transaction_id, command.note_id, command.text),)


# the module of the operation


class AddNoteOperation(CommandOperation):
    """Add a note, once however often its write is tried."""

    __slots__ = ("command", "stored")

    def __init__(self, command: AddNote, metadata: Metadata, idempotency_key: IdempotencyKey | None = None) -> None:
        super().__init__(metadata, idempotency_key)
        self.command = command
        self.stored = False

    @property
    def transaction_id(self) -> str:
        """The transaction that gets the note."""
        return self.command.transaction_id

    @property
    def own_id(self) -> str:
        """The note's id."""
        return self.command.note_id

    def decide(self, batch: Batch, context: CustomerContext) -> None:  # noqa: ARG002
        """Record the note."""
        known = batch.known(self.command.transaction_id)
        if not self.stored:
            decision = decide(batch.account, self.command)  # type: ignore[arg-type]  # it is not in the union
            if isinstance(decision, Refused):
                batch.refuse(self, decision)
                return
            key, own = self.idempotency_key, Claim("note", self.command.note_id, b"")
            claims = (own,) if key is None else (own, claim_of(key, self.command.note_id))
            recorded = batch.record(decision, self.metadata, self.event_ids)
            batch.add_part(Part(events=recorded, claims=claims), self)
        self.answer = Accepted(known)
        batch.on_commit(self)

    def replayed(self, held: Claim) -> bool:
        """Its own claim shows that an earlier write of it was stored."""
        if held.scope != "note":
            return super().replayed(held)
        self.stored = True
        return False


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in each table."""
    tables: list[tuple[dict[Any, Any], Any, Any]] = [
        (state_machine.DECISIONS, AddNote, add_note),
        (state_machine.EVOLUTIONS, NoteAdded, unchanged),
        (events.TYPE_NAMES, (NoteAdded, None), "NoteAdded"),
        (events.EVENT_TYPES, "NoteAdded", (NoteAdded, None)),
        (codec._ENCODERS, NoteAdded, lambda e: {"transaction_id": e.transaction_id, "id": e.note_id, "text": e.text}),
        (codec._DECODERS, NoteAdded, lambda _, d: NoteAdded(d["transaction_id"], d["id"], d["text"])),
    ]
    for table, key, value in tables:
        monkeypatch.setitem(table, key, value)


def add(customers: Customers, item: WorkItem, *, key: str | None = None, text: str = "called") -> AddNoteOperation:
    """Send the command to the customer's actor."""
    once = None if key is None else IdempotencyKey("idempotency:note:main", key, text)
    command = AddNote(item.work_id, customers.runtime.new_id(), text)
    return customers.send_command(item.stream, AddNoteOperation(command, WHO, once))


def notes(customers: Customers) -> list[Any]:
    """The notes on disk."""
    stored = customers.real.stream_events(stream("c1"), after=0, limit=1_000)
    return [decode(event.body).event for event in stored if event.type == "NoteAdded"]


def test_its_event_is_on_disk_before_the_answer(customers: Customers) -> None:
    """The command is answered with the transaction, and its event is stored with the operator's name."""
    item = customers.deposited()
    request = add(customers, item)
    customers.run()
    reply = answer(request)
    assert isinstance(reply, Accepted)
    assert reply.transaction.transaction_id == item.work_id
    assert notes(customers) == [NoteAdded(item.work_id, request.command.note_id, "called")]
    [event] = customers.real.stream_events(stream("c1"), after=1, limit=10)
    assert codec.read_body(event.body).metadata["who"] == "ann"


def test_it_is_decided_together_with_others(customers: Customers) -> None:
    """A batch takes it beside known operations, and the state stays usable."""
    item = customers.deposited()
    requests = [add(customers, item), customers.send(), add(customers, item)]
    customers.report(item, Declined("declined", None, "no"))
    customers.run()
    assert all(isinstance(answer(request), Accepted) for request in requests)
    assert len(notes(customers)) == 2
    assert customers.types()[-1] == "DepositFailed"


def test_a_key_is_one_note(customers: Customers, another_process: Callable[[], Customers]) -> None:
    """A repetition gets the first note's id, in every process; another command under the key is refused."""
    item = customers.deposited()
    first = add(customers, item, key="k")
    customers.run()
    for process in (customers, another_process()):
        again, other = add(process, item, key="k"), add(process, item, key="k", text="other")
        process.run(1.0)
        assert answer(again) == Replayed(first.command.note_id)
        said = answer(other)
        assert isinstance(said, Refused)
        assert said.code == KEY_REUSED
    assert len(notes(customers)) == 1


def test_a_refusal_under_a_key_is_final(customers: Customers) -> None:
    """It is confirmed by the store, recorded, and replayed."""
    item = customers.deposited()
    customers.report(item, Declined("declined", None, "no"))
    customers.run()
    replies: list[Reply] = []
    for _ in range(2):
        request = add(customers, item, key="k")
        customers.run(1.0)
        replies.append(answer(request))
    first, again = replies
    assert isinstance(first, Refused)
    assert isinstance(again, Refused)
    assert (first.code, first.replayed, again.code, again.replayed) == ("already-final", False, "already-final", True)
    assert notes(customers) == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [AddNoteOperation, Loaded, Written])
@pytest.mark.parametrize("key", [None, "k"])
def test_a_death_loses_nothing_and_doubles_nothing(
    customers: Customers, kind: type, key: str | None, *, after: bool
) -> None:
    """The actor dies at a message: its successor answers, and the note is stored once."""
    item = customers.deposited()
    customers.router.tell(item.stream, Passivate())
    customers.run()
    fatal = Fatal(customers, kind, after=after)
    request = add(customers, item, key=key)
    customers.run(DEADLINE_S - 1.0)
    assert fatal.left == 0
    assert isinstance(answer(request), Accepted)
    assert len(notes(customers)) == 1


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("key", [None, "k"])
def test_a_commit_in_doubt_stores_it_once(
    customers: Customers, store: TroubledStore, key: str | None, *, stored: bool
) -> None:
    """Whether the first write was stored or not, the answer is correct."""
    item = customers.deposited()
    store.inject("append", *[Trouble(CommitUncertainError("cut"), after=stored)] * 2)
    request = add(customers, item, key=key)
    customers.run(DEADLINE_S - 1.0)
    assert isinstance(answer(request), Accepted)
    assert len(notes(customers)) == 1


def test_a_store_that_is_away_stores_nothing(customers: Customers, store: TroubledStore) -> None:
    """The answer is that nothing is stored, and nothing is."""
    item = customers.deposited()
    store.inject("append", StoreUnavailableError("away"))
    request = add(customers, item)
    customers.run(DEADLINE_S)
    assert isinstance(answer(request), NotStored)
    assert notes(customers) == []

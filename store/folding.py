"""The fold of one stream's events, and the problems among them. Pure logic over the Audit port.

``store.verify`` compares the read tables with it, ``store.rebuild`` writes them from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from domain.account import Account, IllegalTransitionError, Transaction, UnknownTransactionError
from domain.events import AccountEvent, BalanceAdjusted, Received, Recorded
from domain.state_machine import evolve
from store.codec import chain, read_body, recorded_in
from store.errors import CorruptStoreError
from store.port import GENESIS, Head, Review, StoredEvent, StreamKey
from store.projection import project_review
from store.queries import Audit

_EMPTY: Final = Head()


class Problem(NamedTuple):
    """Something that is wrong. ``version`` is None when no single event is at fault."""

    stream: StreamKey | None
    version: int | None
    text: str


@dataclass(slots=True)
class Fold:
    """The state after the events of one stream."""

    account: Account
    transactions: dict[str, Transaction] = field(default_factory=dict)
    reviews: dict[str, Review] = field(default_factory=dict)

    def add(self, recorded: Recorded) -> None:
        """Apply an event. Raises IllegalTransitionError or UnknownTransactionError when it does not follow."""
        event = recorded.event
        if isinstance(event, AccountEvent):
            self.account = evolve(self.account, recorded)
            if not isinstance(event, BalanceAdjusted):
                review = project_review(self.reviews.get(event.review_id), recorded)
                if review is not None:
                    self.reviews[event.review_id] = review
            return
        # evolve copies all transactions of its argument, so it gets only the one of the event and its parent.
        known = self.transactions.get(event.transaction_id)
        parent_id = event.parent_id if isinstance(event, Received) else None if known is None else known.parent_id
        ids = (event.transaction_id, parent_id)
        concerned = {key: self.transactions[key] for key in ids if key is not None and key in self.transactions}
        before = self.account
        after = evolve(Account(before.customer_id, before.version, before.balances, concerned), recorded)
        self.transactions.update(after.transactions)
        self.account = Account(after.customer_id, after.version, after.balances)


@dataclass(slots=True)
class Folded:
    """One stream read from its first event to its last."""

    fold: Fold | None
    """None when an event cannot be read, or does not follow from those before it."""
    head: Head = _EMPTY
    events: int = 0
    problems: list[Problem] = field(default_factory=list)
    """The problems among the events themselves."""


def fold_stream(audit: Audit, stream: StreamKey) -> Folded:
    """Read all events of ``stream``. Its transactions are in memory at once, its events are not."""
    fold = Fold(Account(stream.id))
    folded = Folded(fold)
    before: StoredEvent | None = None
    for stored in audit.events(stream):
        folded.events += 1
        recorded, texts = _read(stored)
        folded.problems += (Problem(stream, stored.version, text) for text in (*_against(before, stored), *texts))
        if recorded is None:
            folded.fold = None
        elif folded.fold is not None:
            try:
                fold.add(recorded)
            except (IllegalTransitionError, UnknownTransactionError) as error:
                text = f"the event does not follow from those before it: {error}"
                folded.problems.append(Problem(stream, stored.version, text))
                folded.fold = None  # later events would be compared with a wrong state
        before = stored
        folded.head = Head(stored.version, stored.hash)
    return folded


def _against(before: StoredEvent | None, stored: StoredEvent) -> Iterator[str]:
    expected = 1 if before is None else before.version + 1
    if stored.version != expected:
        yield f"version {expected} is missing"
    if before is not None and stored.position <= before.position:
        yield f"position {stored.position} is not above that of the event before"
    if chain(GENESIS if before is None else before.hash, stored.body) != stored.hash:
        yield "the hash does not match the event and the hash before it"


def _read(stored: StoredEvent) -> tuple[Recorded | None, Sequence[str]]:
    """The event, if it can be read, and the differences between its columns and its bytes."""
    try:
        body = read_body(stored.body)
        recorded = recorded_in(body)
    except CorruptStoreError as error:
        return None, [str(error)]
    pairs = {
        "stream": (stored.stream, body.stream),
        "version": (stored.version, body.version),
        "event_id": (stored.event_id, body.event_id),
        "type": (stored.type, body.type),
    }
    return recorded, [
        f"column {name} is {column!r}, the event says {said!r}"
        for name, (column, said) in pairs.items()
        if column != said
    ]

"""Checks a whole store against itself and against heads exported earlier. Pure logic over the Audit port.

It finds what was changed behind the service's back: an event edited, exchanged or taken out breaks the chain of
hashes or the numbering; a read row edited differs from the fold of the events. A tail cut off together with the
rows that came of it leaves no trace inside the store: only heads kept elsewhere show it. A position is under no
hash (it is given at commit), so of positions only their order within a stream is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import orjson

from domain.account import Account, Balance, IllegalTransitionError, Transaction, UnknownTransactionError, evolve
from domain.events import AccountEvent, BalanceAdjusted, Recorded
from store.codec import chain, read_body, recorded_in
from store.errors import CorruptStoreError
from store.port import GENESIS, Head, Review, StoredEvent, StreamKey
from store.projection import project_review
from store.queries import Audit

_Row = Transaction | Balance | Review


class Problem(NamedTuple):
    """Something that does not hold; ``version`` is None when no single event is at fault."""

    stream: StreamKey | None
    version: int | None
    text: str


@dataclass(slots=True)
class Tally:
    """How much was looked at, for the last line of a report."""

    streams: int = 0
    events: int = 0
    heads: int = 0


@dataclass(slots=True)
class _Fold:
    """What the events of one stream add up to."""

    account: Account
    transactions: dict[str, Transaction] = field(default_factory=dict)
    reviews: dict[str, Review] = field(default_factory=dict)

    def add(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, AccountEvent):
            self.account = evolve(self.account, recorded)
            if not isinstance(event, BalanceAdjusted):
                review = project_review(self.reviews.get(event.review_id), recorded)
                if review is not None:
                    self.reviews[event.review_id] = review
            return
        # evolve copies the transactions that it is given: give it the one that the event is about.
        known = self.transactions.get(event.transaction_id)
        one = {} if known is None else {event.transaction_id: known}
        before = self.account
        after = evolve(Account(before.customer_id, before.version, before.balances, one), recorded)
        self.transactions.update(after.transactions)
        self.account = Account(after.customer_id, after.version, after.balances)


def verify(audit: Audit, heads: Iterable[str | bytes] = (), tally: Tally | None = None) -> Iterator[Problem]:
    """Yield every problem found in the streams, ascending, then those of ``heads`` (lines of ``export_heads``).

    Holds one stream's transactions in memory at a time.
    """
    tally = Tally() if tally is None else tally
    for stream in audit.streams():
        tally.streams += 1
        yield from _verify_stream(audit, stream, tally)
    for line in heads:
        if line.strip():
            tally.heads += 1
            yield from _verify_head(audit, line)


def export_heads(audit: Audit) -> Iterator[str]:
    """The end of every stream as a line of JSON, to be kept where the store's administrators cannot change it."""
    for stream in audit.streams():
        head = audit.head(stream)
        if head.version > 0:
            line = {
                "stream_name": stream.name,
                "stream_id": stream.id,
                "version": head.version,
                "hash": head.hash.hex(),
            }
            yield orjson.dumps(line).decode()


def _verify_stream(audit: Audit, stream: StreamKey, tally: Tally) -> Iterator[Problem]:
    fold: _Fold | None = _Fold(Account(stream.id))
    before: StoredEvent | None = None
    for stored in audit.events(stream):
        tally.events += 1
        yield from (Problem(stream, stored.version, text) for text in _against_neighbour(before, stored))
        recorded, texts = _read(stored)
        yield from (Problem(stream, stored.version, text) for text in texts)
        if recorded is None:
            fold = None
        if fold is not None and recorded is not None:
            try:
                fold.add(recorded)
            except (IllegalTransitionError, UnknownTransactionError) as error:
                yield Problem(stream, stored.version, f"the event does not follow from those before it: {error}")
                fold = None  # what comes after could only be measured by a wrong state
        before = stored
    if fold is not None:
        yield from _verify_rows(audit, stream, fold)


def _against_neighbour(before: StoredEvent | None, stored: StoredEvent) -> Iterator[str]:
    expected = 1 if before is None else before.version + 1
    if stored.version != expected:
        yield f"version {expected} is missing"
    if before is not None and stored.position <= before.position:
        yield f"position {stored.position} is not above that of the event before"
    if chain(GENESIS if before is None else before.hash, stored.body) != stored.hash:
        yield "the hash does not match the event and the hash before it"


def _read(stored: StoredEvent) -> tuple[Recorded | None, Sequence[str]]:
    """The event, if it can be read, and how its columns differ from its bytes."""
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


def _verify_rows(audit: Audit, stream: StreamKey, fold: _Fold) -> Iterator[Problem]:
    try:
        transactions = {row.transaction_id: row for row in audit.transactions(stream)}
        balances = dict(audit.balances(stream))
        reviews = {row.review_id: row for row in audit.reviews(stream)}
        unfinished = frozenset(audit.unfinished(stream))
    except CorruptStoreError as error:
        yield Problem(stream, None, str(error))
        return
    yield from _compare(stream, "transaction", fold.transactions, transactions)
    yield from _compare(stream, "balance", fold.account.balances, balances)
    yield from _compare(stream, "review", fold.reviews, reviews)
    for transaction in fold.transactions.values():
        if transaction.status.terminal and transaction.transaction_id in unfinished:
            text = f"transaction {transaction.transaction_id} is {transaction.status}, but has work"
            yield Problem(stream, transaction.version, text)
        elif not transaction.status.terminal and transaction.transaction_id not in unfinished:
            text = f"transaction {transaction.transaction_id} is {transaction.status}, but nobody works on it"
            yield Problem(stream, transaction.version, text)
    for transaction_id in sorted(unfinished - fold.transactions.keys()):
        yield Problem(stream, None, f"there is work for transaction {transaction_id}, which has no events")


def _compare(stream: StreamKey, what: str, folded: Mapping[str, _Row], rows: Mapping[str, _Row]) -> Iterator[Problem]:
    for key in sorted(folded.keys() | rows.keys()):
        ought, is_ = folded.get(key), rows.get(key)
        if ought == is_:
            continue
        version = ought.version if isinstance(ought, Transaction) else None
        if ought is None:
            yield Problem(stream, version, f"the row of {what} {key} follows from no event")
        elif is_ is None:
            yield Problem(stream, version, f"the row of {what} {key} is missing")
        else:
            differences = ", ".join(_differences(ought, is_))
            yield Problem(stream, version, f"the row of {what} {key} differs from its events: {differences}")


def _differences(ought: object, is_: object) -> Iterator[str]:
    names: Any = ought
    for name in (one.name for one in fields(names)):
        if getattr(ought, name) != getattr(is_, name):
            yield f"{name} is {getattr(is_, name)!r}, not {getattr(ought, name)!r}"


def _verify_head(audit: Audit, line: str | bytes) -> Iterator[Problem]:
    try:
        raw = orjson.loads(line)
        stream = StreamKey(raw["stream_name"], raw["stream_id"])
        exported = Head(int(raw["version"]), bytes.fromhex(raw["hash"]))
    except (ValueError, KeyError, TypeError):
        yield Problem(None, None, f"not a line of exported heads: {line[:200]!r}")
        return
    end = audit.head(stream)
    if end.version < exported.version:
        text = f"the stream was exported up to version {exported.version}, but ends at {end.version}"
        yield Problem(stream, exported.version, text)
    elif end != exported:
        found = next((event.hash for event in audit.events(stream) if event.version == exported.version), None)
        if found != exported.hash:
            yield Problem(stream, exported.version, "the event is not the one that was exported: the past is rewritten")

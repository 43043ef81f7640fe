"""Writes the read tables anew from the events, stream by stream. Pure logic over the Rebuilding port.

A stream whose events are not sound is left as it is: rows made of changed events would hide the change. So is one
whose rows know more than its events: they are the last trace of events that were cut off, and the callers have seen
what they say. Work and claims follow from no event alone and are never touched. Each stream is one transaction, so that
whatever ends this half-way leaves every stream as it was or rebuilt, and running it again finishes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from domain.account import Balance, Transaction
from store.errors import CorruptStoreError
from store.folding import Fold, Folded, Problem, fold_stream
from store.port import Head, Review, StreamKey
from store.queries import Audit


class ReadRows(NamedTuple):
    """The read rows of one stream, each kind in ascending order of its keys."""

    transactions: tuple[Transaction, ...] = ()
    balances: tuple[tuple[str, Balance], ...] = ()
    reviews: tuple[Review, ...] = ()

    @property
    def transaction_ids(self) -> list[str]:
        """The ids of the transactions."""
        return [row.transaction_id for row in self.transactions]

    @property
    def review_ids(self) -> list[str]:
        """The ids of the reviews."""
        return [row.review_id for row in self.reviews]


class Rebuilding(Audit, Protocol):
    """A store that no service works on. What ``Audit`` reads is as it stands now, not in one snapshot."""

    def last_position(self) -> int:
        """The newest event's position: about how many events there are."""

    def newest_version(self, stream: StreamKey) -> int:
        """The highest version that a transaction's row has, readable or not; 0 when there are none."""

    def locked(self, stream: StreamKey) -> AbstractContextManager[None]:
        """A transaction in which nobody else appends to ``stream``; committed at the end of the block."""

    def holders(self, stream: StreamKey, rows: ReadRows) -> Sequence[StreamKey]:
        """Other streams that have a transaction's or a review's row of one of these ids, ascending."""

    def replace(self, stream: StreamKey, rows: ReadRows) -> None:
        """Within ``locked``: let these be its rows, in place of all that it has and others have of these ids."""

    def cut(self, stream: StreamKey, head: Head) -> None:
        """Within ``locked``: let appends go on from here, where the store keeps that apart from the events."""


@dataclass(slots=True)
class Tally:
    """How far it is, and what came of it."""

    streams: int = 0
    events: int = 0
    rebuilt: int = 0
    """Streams whose rows were not what the events say."""


class _Look(NamedTuple):
    """One stream, and what keeps it from being rebuilt."""

    folded: Folded
    ought: ReadRows | None
    """The rows that the events come to; None when they come to nothing."""
    differs: bool
    unsound: Sequence[Problem]
    cut: Sequence[Problem]
    """Traces of events that are gone from the end: a person may accept that."""


def rebuild(store: Rebuilding, tally: Tally, *, accept_cut: bool = False) -> Iterator[Problem | None]:
    """Rebuild every stream, ascending; after each either None, or each problem for which it was left as it is.

    With ``accept_cut`` a stream that has lost its end is rebuilt from the events that are left. Without, it is looked
    at once more after all others: a row that knew more may be another's, which has taken it back by then. Holds one
    stream's transactions in memory at a time, two where an id is another's, too, and the names of the cut streams.
    """
    cut: list[StreamKey] = []
    for stream in store.streams():
        look = _rebuild(store, stream, tally, accept_cut=accept_cut)
        tally.streams += 1
        tally.events += look.folded.events
        if look.cut and not look.unsound:
            cut.append(stream)
            yield None
        else:
            yield from (*look.unsound, *look.cut) or (None,)
    for stream in cut:
        look = _rebuild(store, stream, tally, accept_cut=accept_cut)
        yield from (*look.unsound, *look.cut) or (None,)


def _rebuild(store: Rebuilding, stream: StreamKey, tally: Tally, *, accept_cut: bool) -> _Look:
    look = _look(store, stream)
    # A lock is a write, and most streams need none: this look was enough where nothing is to be done.
    if not (look.differs or look.unsound or look.cut):
        return look
    with store.locked(stream):
        look = _look(store, stream)
        if look.differs and look.ought is not None:
            look = look._replace(unsound=(*look.unsound, *_claimed(store, stream, look.ought)))
        if look.unsound or (look.cut and not accept_cut):
            return look
        if look.cut:
            store.cut(stream, look.folded.head)
        if look.differs and look.ought is not None:
            store.replace(stream, look.ought)
            tally.rebuilt += 1
    return look._replace(cut=())


def _claimed(store: Rebuilding, stream: StreamKey, ought: ReadRows) -> Iterator[Problem]:
    """Report rows of other streams that belong to those by their events, or may. Other such rows were moved."""
    transactions, reviews = set(ought.transaction_ids), set(ought.review_ids)
    for other in store.holders(stream, ought):
        name = "/".join(other)
        fold = fold_stream(store, other).fold
        if fold is None:
            yield Problem(stream, None, f"a row of it lies in {name}, whose events cannot be followed")
            continue
        for transaction_id in sorted(transactions & fold.transactions.keys()):
            yield Problem(stream, None, f"the events of {name} name transaction {transaction_id}, too")
        for review_id in sorted(reviews & fold.reviews.keys()):
            yield Problem(stream, None, f"the events of {name} name review {review_id}, too")


def _look(store: Rebuilding, stream: StreamKey) -> _Look:
    folded = fold_stream(store, stream)
    ought, now = _rows_of(folded.fold), _rows_now(store, stream)
    unsound = list(folded.problems)
    cut: list[Problem] = []
    kept = store.kept_head(stream)
    if kept is not None and kept != folded.head:
        text = f"the events end at version {folded.head.version}, but appends go on from version {kept.version}"
        (cut if kept.version > folded.head.version else unsound).append(Problem(stream, None, text))
    if now != ought:
        cut += (Problem(stream, None, text) for text in _known_better(folded, now, store.newest_version(stream)))
    return _Look(folded, ought, now != ought, unsound, cut)


def _known_better(folded: Folded, now: ReadRows | None, newest: int) -> Iterator[str]:
    """What the rows tell of events that are not there. Balances say nothing of that: they have no version."""
    end = folded.head.version
    events = f"the events end at version {end}" if end else "there are no events"
    if newest > end:
        yield f"{events}, but the row of a transaction is of version {newest}"
    elif not end:
        yield f"{events}, but rows that came of some"
    if end and now is not None and folded.fold is not None:
        for review in now.reviews:
            known = folded.fold.reviews.get(review.review_id)
            if known is None:
                yield f"{events} and leave out review {review.review_id}, of which there is a row"
            elif known.closed_at is None and review.closed_at is not None:
                yield f"{events} and leave review {review.review_id} open, but its row is closed"


def _rows_of(fold: Fold | None) -> ReadRows | None:
    if fold is None:
        return None
    return ReadRows(
        tuple(fold.transactions[key] for key in sorted(fold.transactions)),
        tuple(sorted(fold.account.balances.items())),
        tuple(fold.reviews[key] for key in sorted(fold.reviews)),
    )


def _rows_now(store: Rebuilding, stream: StreamKey) -> ReadRows | None:
    """None when they cannot be read, and so are not what the events say."""
    try:
        return ReadRows(tuple(store.transactions(stream)), tuple(store.balances(stream)), tuple(store.reviews(stream)))
    except CorruptStoreError:
        return None

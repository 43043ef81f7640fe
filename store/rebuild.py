"""Write the read tables again from the events, stream by stream. Pure logic over the Rebuilding port.

A stream with unsound events stays as it is, because rows made from changed events would hide the change. A stream whose
rows contain more than its events stays as well. Clients have seen these rows, and they are the last trace of events
that were cut off. Work and claims do not follow from events alone and are never changed. Each stream is one
transaction: after an interruption every stream is unchanged or rebuilt, and the next run finishes.
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
    """A store without a service. The reads of ``Audit`` show the present state, not one snapshot."""

    def last_position(self) -> int:
        """Return the position of the newest event, which is about the number of events."""

    def newest_version(self, stream: StreamKey) -> int:
        """Return the highest version in a transaction's row, readable or not; 0 when there is none."""

    def locked(self, stream: StreamKey) -> AbstractContextManager[None]:
        """Begin a transaction in which no other process appends to ``stream``; committed at the end of the block."""

    def holders(self, stream: StreamKey, rows: ReadRows) -> Sequence[StreamKey]:
        """Return other streams that have a transaction or a review with one of the ids in ``rows``, ascending."""

    def replace(self, stream: StreamKey, rows: ReadRows) -> None:
        """Within ``locked``: replace all rows of the stream, and rows of other streams with these ids."""

    def set_head(self, stream: StreamKey, head: Head) -> None:
        """Within ``locked``: make appends continue from ``head``."""


@dataclass(slots=True)
class Tally:
    """The progress and the result of a rebuild."""

    streams: int = 0
    events: int = 0
    rebuilt: int = 0
    """Streams whose rows differed from their events."""


class _Examination(NamedTuple):
    """One stream, and the reasons against its rebuild."""

    folded: Folded
    expected_rows: ReadRows | None
    """The rows that follow from the events; None when the events cannot be folded."""
    differs: bool
    headless: bool
    """There are events, but no head from which appends continue. It follows from the events."""
    unsound: Sequence[Problem]
    cut: Sequence[Problem]
    """Traces of events that are missing at the end; the operator may accept that."""


def rebuild(store: Rebuilding, tally: Tally, *, accept_cut: bool = False) -> Iterator[Problem | None]:
    """Rebuild every stream, ascending. Yields None for each, or the problems for which it stays as it is.

    With ``accept_cut`` a stream that has lost its end is rebuilt from the remaining events. Without it, such a
    stream is read again after all others. A row with a newer version may belong to another stream, and the rebuild
    of that stream has moved the row by then. Memory holds the transactions of one stream at a time, of two when
    they share an id, and the names of cut streams.
    """
    cut: list[StreamKey] = []
    for stream in store.streams():
        examined = _rebuild(store, stream, tally, accept_cut=accept_cut)
        tally.streams += 1
        tally.events += examined.folded.events
        if examined.cut and not examined.unsound:
            cut.append(stream)
            yield None
        else:
            yield from (*examined.unsound, *examined.cut) or (None,)
    for stream in cut:
        examined = _rebuild(store, stream, tally, accept_cut=accept_cut)
        yield from (*examined.unsound, *examined.cut) or (None,)


def _rebuild(store: Rebuilding, stream: StreamKey, tally: Tally, *, accept_cut: bool) -> _Examination:
    examined = _examine(store, stream)
    # A lock is a write, and most streams need no change: for them this first read is enough.
    if not (examined.differs or examined.headless or examined.unsound or examined.cut):
        return examined
    with store.locked(stream):
        examined = _examine(store, stream)
        if examined.differs and examined.expected_rows is not None:
            examined = examined._replace(unsound=(*examined.unsound, *_claimed(store, stream, examined.expected_rows)))
        if examined.unsound or (examined.cut and not accept_cut):
            return examined
        if examined.cut or examined.headless:
            store.set_head(stream, examined.folded.head)
        if examined.differs and examined.expected_rows is not None:
            store.replace(stream, examined.expected_rows)
            tally.rebuilt += 1
    return examined._replace(cut=())


def _claimed(store: Rebuilding, stream: StreamKey, expected_rows: ReadRows) -> Iterator[Problem]:
    """Report rows of other streams that belong to those by their events, or may. Other such rows were moved."""
    transactions, reviews = set(expected_rows.transaction_ids), set(expected_rows.review_ids)
    for other in store.holders(stream, expected_rows):
        name = "/".join(other)
        fold = fold_stream(store, other).fold
        if fold is None:
            yield Problem(stream, None, f"{name}, whose events cannot be folded, has a row of it")
            continue
        for transaction_id in sorted(transactions & fold.transactions.keys()):
            yield Problem(stream, None, f"the events of {name} name transaction {transaction_id}, too")
        for review_id in sorted(reviews & fold.reviews.keys()):
            yield Problem(stream, None, f"the events of {name} name review {review_id}, too")


def _examine(store: Rebuilding, stream: StreamKey) -> _Examination:
    folded = fold_stream(store, stream)
    expected_rows, now = _rows_of(folded.fold), _rows_now(store, stream)
    unsound = list(folded.problems)
    cut: list[Problem] = []
    kept = store.kept_head(stream)
    headless = kept == Head() != folded.head
    if kept is not None and kept != folded.head and not headless:
        text = f"the events end at version {folded.head.version}, but appends continue from version {kept.version}"
        (cut if kept.version > folded.head.version else unsound).append(Problem(stream, None, text))
    if now != expected_rows:
        cut += (
            Problem(stream, None, text) for text in _traces_of_missing_events(folded, now, store.newest_version(stream))
        )
    return _Examination(folded, expected_rows, now != expected_rows, headless, unsound, cut)


def _traces_of_missing_events(folded: Folded, now: ReadRows | None, newest: int) -> Iterator[str]:
    """Yield traces of missing events in the rows. Balances have no version, and so show none."""
    end = folded.head.version
    events = f"the events end at version {end}" if end else "there are no events"
    if newest > end:
        yield f"{events}, but the row of a transaction is of version {newest}"
    elif not end:
        yield f"{events}, but there are rows, which follow from events"
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
    """Return the present rows; None when they cannot be read, and therefore differ from the events."""
    try:
        return ReadRows(tuple(store.transactions(stream)), tuple(store.balances(stream)), tuple(store.reviews(stream)))
    except CorruptStoreError:
        return None

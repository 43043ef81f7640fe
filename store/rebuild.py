"""Writes the read tables anew from the events, stream by stream. Pure logic over the Rebuilding port.

A stream whose events are not sound is left as it is: rows made of changed events would hide the change. Work and
claims follow from no event alone and are never touched. Each stream is one transaction, so that whatever ends this
half-way leaves every stream as it was or rebuilt, and running it again finishes.
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


class Rows(NamedTuple):
    """The read rows of one stream, each kind in ascending order of its keys."""

    transactions: tuple[Transaction, ...] = ()
    balances: tuple[tuple[str, Balance], ...] = ()
    reviews: tuple[Review, ...] = ()


class Rebuilding(Audit, Protocol):
    """A store that no service works on. What ``Audit`` reads is as it stands now, not in one snapshot."""

    def last_position(self) -> int:
        """The newest event's position: about how many events there are."""

    def kept_head(self, stream: StreamKey) -> Head | None:
        """The head that appends go on from, where the store keeps that apart from the events."""

    def locked(self, stream: StreamKey) -> AbstractContextManager[None]:
        """A transaction in which nobody else appends to ``stream``; committed at the end of the block.

        Raises StoreInUseError when a service works on the store by now.
        """

    def replace(self, stream: StreamKey, rows: Rows) -> None:
        """Within ``locked``: let these be the stream's rows, in place of all that it has.

        A row of the same id that somebody has put into another stream goes as well.
        """


@dataclass(slots=True)
class Tally:
    """How far it is, and what came of it."""

    streams: int = 0
    events: int = 0
    rebuilt: int = 0
    """Streams whose rows were not what the events say."""


def rebuild(store: Rebuilding, tally: Tally) -> Iterator[Problem | None]:
    """Rebuild every stream, ascending; after each either None, or each problem for which it was left as it is.

    Holds one stream's transactions in memory at a time.
    """
    for stream in store.streams():
        folded, problems = _read(store, stream)
        # A lock is a write, and most streams need none: this look was enough where nothing is to be done.
        if problems or _rows_of(folded.fold) != _rows_now(store, stream):
            with store.locked(stream):
                folded, problems = _read(store, stream)
                rows = _rows_of(folded.fold)
                if not problems and rows is not None:
                    store.replace(stream, rows)
                    tally.rebuilt += 1
        tally.streams += 1
        tally.events += folded.events
        yield from problems or (None,)


def _read(store: Rebuilding, stream: StreamKey) -> tuple[Folded, Sequence[Problem]]:
    folded = fold_stream(store, stream)
    return folded, [*folded.problems, *_against_kept(stream, store.kept_head(stream), folded)]


def _against_kept(stream: StreamKey, kept: Head | None, folded: Folded) -> Iterator[Problem]:
    # Only a store that keeps heads can tell that the end of a stream was cut off.
    if kept is not None and kept != folded.head:
        text = f"the events end at version {folded.head.version}, but appends go on from version {kept.version}"
        yield Problem(stream, None, text)


def _rows_of(fold: Fold | None) -> Rows | None:
    if fold is None:
        return None
    return Rows(
        tuple(fold.transactions[key] for key in sorted(fold.transactions)),
        tuple(sorted(fold.account.balances.items())),
        tuple(fold.reviews[key] for key in sorted(fold.reviews)),
    )


def _rows_now(store: Rebuilding, stream: StreamKey) -> Rows | None:
    """None when they cannot be read, and so are not what the events say."""
    try:
        return Rows(tuple(store.transactions(stream)), tuple(store.balances(stream)), tuple(store.reviews(stream)))
    except CorruptStoreError:
        return None

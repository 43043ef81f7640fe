"""Positions and cursors as clients see them: each carries the store's generation. Whatever is of another gets 410.

A position on the wire is ``generation * 2**40 + position``: ascending over generations, and exact in JSON below 2**53.
Where API keys are needed clients see no position: it would tell how much others do. Theirs are cursors, which name an
event of their own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from api.paging import CursorKind, Place, encode_cursor
from api.problems import POSITION_UNKNOWN, ProblemError
from store.port import StoredEvent, StreamKey
from store.queries import Queries

_SPAN: Final = 1 << 40
_HASH_SHOWN: Final = 16


class Position(NamedTuple):
    """A place in the order of all events of a generation; 0 is before the first."""

    generation: int
    position: int

    @classmethod
    def from_wire(cls, number: int) -> Position:
        """What ``on_wire`` was made of."""
        return cls(*divmod(number, _SPAN))

    @property
    def on_wire(self) -> int:
        """One number for both."""
        return self.generation * _SPAN + self.position

    @property
    def is_beginning(self) -> bool:
        """Whether it is before the first event, of whatever generation."""
        return self == (0, 0)


BEGINNING: Final = Position(0, 0)


def event_cursor(generation: int, stored: StoredEvent | None) -> str:
    """A merchant's place just after an event of its own; None: before the first."""
    if stored is None:
        return encode_cursor(CursorKind.EVENTS, "0", generation)
    key = f"{stored.version}.{stored.hash.hex()[:_HASH_SHOWN]}.{stored.stream.id}"
    return encode_cursor(CursorKind.EVENTS, key, generation)


def position_of(queries: Queries, merchant: str, place: Place) -> Position:
    """What the cursor of an event stands for. Raises ProblemError (410) when the merchant has no such event."""
    if place.key == "0":
        return Position(place.generation, 0)
    version, hash_shown, stream_id = place.key.split(".", 2)
    for stored in queries.stream_events(StreamKey(merchant, stream_id), after=int(version) - 1, limit=1):
        if stored.hash.hex().startswith(hash_shown):
            return Position(place.generation, stored.position)
    raise unknown(queries.feed().generation)


def generation_for(queries: Queries, place: Place | None) -> int:
    """The generation that a page's cursor carries; to be asked for after the page was read.

    Raises ProblemError (410) when ``place``, from which the page goes on, is of another.
    """
    generation = queries.feed().generation
    if place is not None and place.generation != generation:
        raise unknown(generation)
    return generation


def confirm(queries: Queries, after: Position) -> int:
    """The generation now. Raises ProblemError (410) when ``after`` is of another one, or beyond its end."""
    generation, last = queries.feed()
    if not after.is_beginning and (after.generation != generation or after.position > last):
        raise unknown(generation)
    return generation


def unknown(generation: int) -> ProblemError:
    """410: what the client has seen since some point may not be on record."""
    detail = (
        "Nothing is known of this position: the database was put back to an earlier state, or ends before it. Begin"
        " anew, and drop what you have of events that do not come again."
    )
    return ProblemError(POSITION_UNKNOWN, detail, generation=generation)

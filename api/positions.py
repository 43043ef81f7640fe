"""Positions and cursors on the wire. Each carries the store's generation; one of another generation gets 410.

A position on the wire holds both (``store.event_json.position_on_wire``). Where API keys are required, clients get no
positions, which would reveal the volume of other merchants. They get cursors, each of which names an event of the
merchant.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from api.paging import CursorKind, Place, encode_cursor
from api.problems import POSITION_UNKNOWN, ProblemError
from store.event_json import POSITIONS_APART, position_on_wire
from store.port import StoredEvent, StreamKey
from store.queries import Queries

_HASH_SHOWN: Final = 16


class Position(NamedTuple):
    """A position among all events of a generation; 0 is before the first."""

    generation: int
    position: int

    @classmethod
    def from_wire(cls, number: int) -> Position:
        """The position with the number ``on_wire``."""
        return cls(*divmod(number, POSITIONS_APART))

    @property
    def on_wire(self) -> int:
        """Generation and position as one number."""
        return position_on_wire(self.generation, self.position)

    @property
    def is_beginning(self) -> bool:
        """Whether it is before the first event of the first generation."""
        return self == (0, 0)


BEGINNING: Final = Position(0, 0)


def event_cursor(generation: int, stored: StoredEvent | None) -> str:
    """The cursor after an event of the merchant; None: before the first event."""
    if stored is None:
        return encode_cursor(CursorKind.EVENTS, "0", generation)
    key = f"{stored.version}.{stored.hash.hex()[:_HASH_SHOWN]}.{stored.stream.id}"
    return encode_cursor(CursorKind.EVENTS, key, generation)


def position_of(queries: Queries, merchant: str, place: Place) -> Position:
    """The position of an event's cursor. Raises ProblemError (410) when the merchant has no such event."""
    if place.key == "0":
        return Position(place.generation, 0)
    version, hash_shown, stream_id = place.key.split(".", 2)
    for stored in queries.stream_events(StreamKey(merchant, stream_id), after=int(version) - 1, limit=1):
        if stored.hash.hex().startswith(hash_shown):
            return Position(place.generation, stored.position)
    raise unknown(queries.feed().generation)


def generation_for(queries: Queries, place: Place | None) -> int:
    """The generation for a page's cursor. Call it after the page was read.

    Raises ProblemError (410) when ``place``, where the page begins, is of another generation.
    """
    generation = queries.feed().generation
    if place is not None and place.generation != generation:
        raise unknown(generation)
    return generation


def confirm(queries: Queries, after: Position) -> int:
    """The current generation. Raises ProblemError (410) when ``after`` is of another one, or beyond its end."""
    generation, last = queries.feed()
    if not after.is_beginning and (after.generation != generation or after.position > last):
        raise unknown(generation)
    return generation


def unknown(generation: int) -> ProblemError:
    """410: events that the client received may no longer be on record."""
    detail = (
        "The position is unknown: the database was restored to an earlier state, or ends before it. Read the feed from"
        " the beginning, and drop the events that are not returned again."
    )
    return ProblemError(POSITION_UNKNOWN, detail, generation=generation)

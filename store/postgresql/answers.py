"""The rows of an append as the answers to its writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from store.port import AppendResult, Claim, Committed, Conflict, Duplicate, Fenced, StoredEvent, Write

_COMMITTED: Final = Committed()


def answers_of(writes: Sequence[Write], rows: Iterable[Sequence[Any]]) -> list[AppendResult]:
    """The answer to each of ``writes``. ``rows`` are those of ``append_writes``, each with the place of its write.

    A write that missed exactly its own events is stored already: it is a repetition. One without events cannot be.
    """
    answers: list[AppendResult] = [_COMMITTED] * len(writes)
    missed: dict[int, list[StoredEvent]] = {}
    for place, answer, part, scope, key, value, position, event_id, version, type_, body, hash_ in rows:
        if answer == "duplicate":
            answers[place] = Duplicate(part, Claim(scope, key, value))
        elif answer == "fenced":
            answers[place] = Fenced(part)
        else:
            known = missed.setdefault(place, [])
            if position is not None:
                known.append(StoredEvent(position, writes[place].stream, event_id, version, type_, body, hash_))
    for place, events in missed.items():
        sent = [event.event_id for part in writes[place].parts for event in part.events]
        if not sent or [event.event_id for event in events[: len(sent)]] != sent:
            answers[place] = Conflict(tuple(events))
    return answers

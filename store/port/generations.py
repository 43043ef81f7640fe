"""Generations: how the store shows that it was restored to an earlier state."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

TOKENS_APART: Final = 1 << 20
"""The amount by which each generation raises tokens and epochs, above all values of the generation before."""


class Feed(NamedTuple):
    """The store's generation, and the last position assigned in it."""

    generation: int
    last: int


class GenerationStore(Protocol):
    """The present generation and the start of the next one. Every method raises StoreUnavailableError."""

    def feed(self) -> Feed:
        """Return the generation and the last position assigned, in one snapshot.

        The generation goes up with each restore of the store to an earlier state.
        """

    def begin_generation(self, seen: int) -> int:
        """Begin the generation after ``seen``, unless there is a later one already; returns the newest.

        From then on all unfinished work counts as possibly sent (``DeliveryCertainty.SENT``). Its leases are void and
        due at once. Its tokens, and the epochs of breakers, go up by ``TOKENS_APART`` for each generation since the
        newest on record, lost ones included. No owner is registered any more. Repeating the call changes nothing.
        Raises CommitUncertainError.
        """

"""The interface between a customer's actor and what it decides on: operations.

An operation is a command from outside or a report about a piece of work. ``actors/operations`` has one module for each
kind. The actor, the batch and the poison-message policy call the methods below and never test for a kind.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from typing import ClassVar, Final

from actors.customer.batch import Batch
from actors.customer.context import CustomerContext
from domain.account import Account
from store.port import Claim, Lease, StreamKey

logger: Final = logging.getLogger(__name__)


class Operation:
    """One thing to decide on a customer's stream.

    A new operation overrides ``decide`` and, where the defaults do not fit, the methods that follow it.
    """

    event_ids: list[str]
    """Chosen once, so that a repeated write is recognised by them."""
    in_doubt: bool
    """An append of it was sent, and the result is not known."""
    crashes: int
    """How often it was in hand when something broke."""
    fenced: bool = False
    """Whether the token of its work was stale, so that the present lease must be read first."""
    survives_defects: ClassVar[bool] = False
    """Whether it is tried without limit, at the end of the queue, while the store has a defect."""
    __slots__ = ("crashes", "event_ids", "in_doubt")

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about, if any."""
        raise NotImplementedError

    @property
    def to_load(self) -> str | None:
        """The transaction that a load must look for, if any."""
        return self.transaction_id

    @property
    def work_id(self) -> str | None:
        """The piece of work whose token fences it, if any."""
        return None

    @property
    def unique(self) -> Hashable | None:
        """What may be in a batch once, if anything: a piece of work or an idempotency key."""
        return self.work_id

    @property
    def alone(self) -> bool:
        """Whether it is written alone: it met trouble, or its events may be stored already."""
        return bool(self.crashes) or self.in_doubt

    @property
    def fields(self) -> dict[str, str | None]:
        """The fields of a log line about it."""
        return {"transaction_id": self.transaction_id}

    # on arrival

    def turn_away(self, reason: str) -> bool:  # noqa: ARG002
        """Answer that nothing is stored, unless it was taken up or must not get lost; True when it is answered."""
        return False

    def arrived_twice(self, in_hand: Iterable[Operation], context: CustomerContext) -> bool:  # noqa: ARG002
        """Whether it is among those ``in_hand`` already. If so it is answered, and the other one is decided on."""
        return False

    # deciding

    def ready(self, batch: Batch, context: CustomerContext) -> bool:  # noqa: ARG002
        """Whether to decide on it in ``batch``; if not, it is answered.

        Raises UnknownTransactionError when a load must look for its transaction first.
        """
        return True

    def decide(self, batch: Batch, context: CustomerContext) -> None:
        """Add its events, claims and work to ``batch``, or refuse it there. May be called again for a later batch.

        Raises UnknownTransactionError when its transaction must be loaded first; the batch is not used then.
        """
        raise NotImplementedError

    # results of a write

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:
        """Answer, and pass work on. Each is done once, also when the actor dies in between and a successor repeats it.

        Called for what the batch was given with ``Batch.on_commit``, once the batch is stored.
        """

    def replayed(self, held: Claim) -> bool:
        """Handle a claim of its own that is held already: it, or one with the same claim, was stored before.

        True: that answers it. False: it is decided again, and takes into account what is held.
        """
        raise AssertionError(f"{type(self).__name__} claims nothing, and {held.scope!r} is held")

    def fenced_off(self) -> bool:
        """Handle a stale token. True: that answers it. False: it is decided again, once the lease is read."""
        raise AssertionError(f"{type(self).__name__} has no fence")

    def with_lease(self, lease: Lease | None, account: Account, context: CustomerContext) -> bool:  # noqa: ARG002
        """Whether to decide again after ``fenced_off``; ``lease`` is the present one of its work."""
        return True

    def not_stored(self, reason: str) -> bool:  # noqa: ARG002
        """Answer that nothing of it is stored, if that is certain; False when it is decided again."""
        return False

    def doubt(self, version: int) -> None:  # noqa: ARG002
        """Note that a write of it, after ``version`` of the stream, may be stored or land later."""
        if self.event_ids:
            self.in_doubt = True

    def without_transaction(self, stream: StreamKey, context: CustomerContext) -> bool:
        """Whether to decide again after a load did not find its transaction. If not, it is answered or given up."""
        raise NotImplementedError

    # trouble

    def actor_died(self) -> bool:
        """Note that the actor that had it in hand died; returns whether the successor decides on it."""
        if self.event_ids:
            self.in_doubt = True  # it was put into a write, and only the lost answer had its result
        return True

    def simplify(self) -> bool:
        """Drop content that may be the reason for its trouble; False when there is nothing left to try."""
        return False

    def give_up(self, stream: StreamKey, context: CustomerContext) -> None:
        """Stop trying."""
        logger.error("given up after it met trouble %s times", self.crashes, extra={"fields": self.fields})
        self.poisoned(stream, context)

    def poisoned(self, stream: StreamKey, context: CustomerContext) -> None:
        """Answer it without a decision, and give its work back for another try."""
        raise NotImplementedError

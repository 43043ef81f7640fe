"""The poison-message policy: how often operations that met trouble are tried again. Every operation gets an answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from actors.customer.context import CustomerContext
from actors.customer.operation import Batch, Operation
from store.port import StreamKey

logger: Final = logging.getLogger(__name__)

CRASHES_MAX: Final = 3
"""How often one operation may be in hand when its actor dies before it is simplified or given up."""


def mark_in_doubt(batch: Batch) -> None:
    """Note that ``batch`` may be stored. A load that does not find it proves nothing: it may land later."""
    for operation in batch.operations:
        operation.doubt(batch.before.version)
    for operation, _ in batch.refusals:
        operation.doubt_refusal()


def refuse(operations: Iterable[Operation], reason: str) -> list[Operation]:
    """Answer the commands of which surely nothing is stored. Returns the others."""
    return [operation for operation in operations if not operation.not_stored(reason)]


class PoisonMessagePolicy:
    """Judges what the actor of ``stream`` had in hand when something broke."""

    def __init__(self, stream: StreamKey, context: CustomerContext) -> None:
        self._stream, self._context = stream, context

    def after_a_death(self, operations: Iterable[Operation]) -> list[Operation]:
        """The operations that the dead actor's successor gets."""
        kept: list[Operation] = []
        for operation in operations:
            if not operation.actor_died():
                continue
            operation.crashes += 1
            if self._tolerable(operation):
                kept.append(operation)
        return kept

    def after_a_defect(self, operations: Iterable[Operation]) -> list[Operation]:
        """The operations to try again, each alone and after all others, when the store failed unexpectedly."""
        kept: list[Operation] = []
        for operation in operations:
            limit = 2 * CRASHES_MAX + (not operation.survives_defects)
            operation.crashes = min(operation.crashes + 1, limit)
            if self._tolerable(operation):
                kept.append(operation)
        return kept

    def after_a_refusal(self, operations: Sequence[Operation], error: BaseException) -> list[Operation]:
        """The operations to try again, each alone, when the database refuses something of them.

        A write of one operation shows which one has the bad data.
        """
        if len(operations) == 1:
            logger.error("cannot be stored: %s", error, extra={"fields": operations[0].fields})
            operations = refuse(operations, "It cannot be stored.")
        for operation in operations:
            operation.crashes += 1
        return [operation for operation in operations if self._tolerable(operation)]

    def give_up(self, operation: Operation) -> None:
        """Answer it, and give its work back."""
        operation.give_up(self._stream, self._context)

    def _tolerable(self, operation: Operation) -> bool:
        """Whether to try it once more. If not, it is given up here."""
        if operation.crashes <= CRASHES_MAX:
            return True
        if operation.crashes <= 2 * CRASHES_MAX and operation.simplify():
            return True
        self.give_up(operation)
        return False

"""Which of the waiting operations are decided together, in one batch."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

from actors.customer.operation import Operation

BATCH_MAX: Final = 64
"""Operations decided together."""


def take_up(waiting: list[Operation], in_hand: Sequence[Operation]) -> list[Operation]:
    """Return the operations ``in_hand`` and the next ones, which are removed from ``waiting``, in order.

    An operation that met trouble is alone in its batch, so that it affects no other. The same holds for one whose
    events may be stored already: a stored write is recognised by these events alone. A piece of work is in a batch
    once, because a fence compares its token as it was before the batch. An idempotency key is in a batch once, because
    a repetition is answered with the result of the first command, once that is stored.
    """
    taken = [*in_hand]
    met = {thing for operation in taken if (thing := operation.unique) is not None} if taken else set[Hashable]()
    for operation in waiting:
        if len(taken) >= BATCH_MAX or (taken and (operation.alone or taken[0].alone)):
            break
        thing = operation.unique
        if thing is not None:
            if thing in met:
                break
            met.add(thing)
        taken.append(operation)
    del waiting[: len(taken) - len(in_hand)]  # at the end: after an error each operation is still in one of the two
    return taken

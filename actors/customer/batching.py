"""Which of the waiting operations are decided together, in one batch."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from actors.customer.operation import Operation

BATCH_MAX: Final = 64
"""Operations decided together."""


def take_up(waiting: list[Operation], taken: list[Operation]) -> None:
    """Move the next operations from ``waiting`` to ``taken``, in order.

    An operation that met trouble is alone in its batch, so that it affects no other. The same holds for one whose
    events may be stored already: a stored write is recognised by these events alone. A piece of work is in a batch
    once, because a fence compares its token as it was before the batch. An idempotency key is in a batch once, because
    a repetition is answered with the result of the first command, once that is stored.
    """
    met = {thing for operation in taken if (thing := operation.unique) is not None} if taken else set[Hashable]()
    while waiting and len(taken) < BATCH_MAX and not (taken and (waiting[0].alone or taken[0].alone)):
        thing = waiting[0].unique
        if thing is not None:
            if thing in met:
                break
            met.add(thing)
        taken.append(waiting.pop(0))

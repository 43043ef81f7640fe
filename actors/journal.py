"""The journal: gathers the writes of many actors, commits them together, and answers each on its own."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

from actors.messages import Append, Unanswered, Written
from actors.runtime.actor import ServiceActor
from store.errors import CommitUncertainError, StoreError, StoreUnavailableError
from store.port import AppendResult, Store

logger: Final = logging.getLogger(__name__)

BATCH_MAX: Final = 256
"""Writes in one transaction: beyond this a commit gets no cheaper, and a first writer would wait for the last."""


class JournalActor(ServiceActor):
    """Group commit without an artificial delay: the next batch gathers while this one syncs.

    It blocks on the store, and therefore has a thread of its own.
    """

    def __init__(self, *, store: Store) -> None:
        super().__init__()
        self._store = store
        self._batch: list[Append] = []

    def receive(self, message: Any) -> None:
        """Gather; commit when nobody else waits or the batch is full."""
        assert isinstance(message, Append)
        self._batch.append(message)
        if self.actor_inbox.empty() or len(self._batch) >= BATCH_MAX:
            self._commit()

    def salvage(self) -> list[Append]:
        """The successor appends again what got no answer: an append that was stored is known by its event ids."""
        return [replace(append, tried=True) for append in self._batch]

    def _commit(self) -> None:
        results = self._append(self._batch)
        batch, self._batch = self._batch, []
        for append, result in zip(batch, results, strict=True):
            append.reply_to.tell(Written(append.serial, result))

    def _append(self, batch: list[Append]) -> list[AppendResult | Unanswered]:
        try:
            return [*self._store.append([append.write for append in batch])]
        except StoreUnavailableError as error:
            logger.warning("the store is not available: %s", error)
            return [Unanswered(error, uncertain=append.tried) for append in batch]
        except CommitUncertainError as error:
            logger.warning("a commit is uncertain: %s", error)
        except (StoreError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            if len(batch) == 1:
                logger.exception("a write cannot be stored")
                return [Unanswered(error, uncertain=batch[0].tried)]
        # One by one: whose data are bad fails alone, and a write that an uncertain commit did store is recognised.
        return [self._append_one(append) for append in batch]

    def _append_one(self, append: Append) -> AppendResult | Unanswered:
        try:
            return self._store.append([append.write])[0]
        except (StoreUnavailableError, CommitUncertainError) as error:
            return Unanswered(error, uncertain=True)
        except (StoreError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            logger.exception("a write cannot be stored")
            return Unanswered(error, uncertain=append.tried)

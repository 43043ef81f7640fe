"""The journal: commits the writes of many actors together and answers each on its own (group commit)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pykka import ActorDeadError

from actors.generations import Generations
from actors.listeners import Listener
from actors.messages import Append, Unanswered, Written
from actors.runtime.actor import DELIVERIES_MAX, Reference, ServiceActor
from store.errors import CommitUncertainError, StoreUnavailableError, UnstorableError
from store.port import AppendResult, Committed, EventStore

logger: Final = logging.getLogger(__name__)

BATCH_MAX: Final = 256
"""Writes in one transaction. Larger batches make commits no cheaper, and the first writer waits for the last."""


class JournalActor(ServiceActor):
    """Group commit without an artificial delay: the next batch collects while this one is committed.

    It blocks on the store, and therefore has a thread of its own.
    """

    def __init__(
        self, *, store: EventStore, listener: Listener, monotonic: Callable[[], float], generations: Generations
    ) -> None:
        super().__init__()
        self._store, self._listener, self._monotonic, self._generations = store, listener, monotonic, generations
        self._batch: list[Append] = []

    def receive(self, message: Any) -> None:
        """Collect a write; commit when no other waits or the batch is full."""
        assert isinstance(message, Append)
        self._batch.append(message)
        self.ack()
        if self.actor_inbox.empty() or len(self._batch) >= BATCH_MAX:
            self._commit()

    def recover(self) -> list[Append]:
        """The successor repeats appends without an answer: one that was stored is recognised by its event ids."""
        kept = [replace(append, deaths=append.deaths + 1) for append in self._batch]
        for append in kept:
            if append.deaths >= DELIVERIES_MAX:
                self._answer(append, Unanswered(self.failed or RuntimeError("the journal died"), uncertain=True))
        return [append for append in kept if append.deaths < DELIVERIES_MAX]

    def on_poison_message(self, message: Any) -> None:
        """Answer the writer of a dropped append: it may have been stored."""
        if isinstance(message, Append):
            self._answer(message, Unanswered(self.failed or RuntimeError("the journal died"), uncertain=True))

    def _commit(self) -> None:
        began = self._monotonic()
        results = self._append(self._batch)
        self._listener.appended(results, self._monotonic() - began)
        for append, result in zip([*self._batch], results, strict=True):
            if isinstance(result, Committed):
                self._generations.committed(append.write, append.generation)
            self._answer(append, result)
            del self._batch[0]  # not before: a write without an answer is repeated, and recognised by its event ids

    def _append(self, batch: list[Append]) -> list[AppendResult | Unanswered]:
        try:
            return [*self._store.append([append.write for append in batch])]
        except StoreUnavailableError as error:
            logger.warning("the store is not available: %s", error)
            return [Unanswered(error, uncertain=append.deaths > 0) for append in batch]
        except CommitUncertainError as error:
            logger.warning("a commit is uncertain: %s", error)
        except Exception:  # every writer gets an answer, whatever the error
            logger.exception("a batch of %s writes failed", len(batch))
        # One by one: bad data fails alone, and a write that an uncertain commit stored is recognised.
        return [self._append_one(append) for append in batch]

    def _append_one(self, append: Append) -> AppendResult | Unanswered:
        try:
            return self._store.append([append.write])[0]
        except UnstorableError as error:
            return Unanswered(error, uncertain=append.deaths > 0)
        except Exception as error:  # noqa: BLE001  # the batch may have been stored: only a load shows it
            return Unanswered(error, uncertain=True)

    def _answer(self, append: Append, result: AppendResult | Unanswered) -> None:
        writer, written = append.reply_to, Written(append.serial, result)
        try:
            if isinstance(writer, Reference):
                writer.tell_here(written)  # one thread hand-over less; the journal may block its own thread
            else:
                writer.tell(written)
        except ActorDeadError:
            return  # its successor does not await this append: it loads the state

"""The journal: gathers the writes of many actors, commits them together, and answers each on its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
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
"""Writes in one transaction: beyond this a commit gets no cheaper, and a first writer would wait for the last."""


class JournalActor(ServiceActor):
    """Group commit without an artificial delay: the next batch gathers while this one syncs.

    It blocks on the store, and therefore has a thread of its own.
    """

    def __init__(
        self, *, store: EventStore, listener: Listener, monotonic: Callable[[], float], generations: Generations
    ) -> None:
        super().__init__()
        self._store, self._listener, self._monotonic, self._generations = store, listener, monotonic, generations
        self._batch: list[Append] = []

    def receive(self, message: Any) -> None:
        """Gather; commit when nobody else waits or the batch is full."""
        assert isinstance(message, Append)
        self._batch.append(message)
        self.ack()
        if self.actor_inbox.empty() or len(self._batch) >= BATCH_MAX:
            self._commit()

    def recover(self) -> list[Append]:
        """The successor appends again what got no answer: an append that was stored is known by its event ids."""
        kept = [replace(append, deaths=append.deaths + 1) for append in self._batch]
        for append in kept:
            if append.deaths >= DELIVERIES_MAX:
                self._answer(append, Unanswered(self.failed or RuntimeError("the journal died"), uncertain=True))
        return [append for append in kept if append.deaths < DELIVERIES_MAX]

    def on_poison_message(self, message: Any) -> None:
        """Its writer waits for an answer: it may have been stored, for all that is known."""
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
            del self._batch[0]  # not before: who got no answer is appended again, and known by its event ids

    def _append(self, batch: list[Append]) -> list[AppendResult | Unanswered]:
        try:
            return [*self._store.append([append.write for append in batch])]
        except StoreUnavailableError as error:
            logger.warning("the store is not available: %s", error)
            return [Unanswered(error, uncertain=append.deaths > 0) for append in batch]
        except CommitUncertainError as error:
            logger.warning("a commit is uncertain: %s", error)
        except Exception:  # whatever goes wrong, every writer gets an answer of its own
            logger.exception("a batch of %s writes failed", len(batch))
        # One by one: whose data are bad fails alone, and a write that an uncertain commit did store is recognised.
        return [self._append_one(append) for append in batch]

    def _append_one(self, append: Append) -> AppendResult | Unanswered:
        try:
            return self._store.append([append.write])[0]
        except UnstorableError as error:
            return Unanswered(error, uncertain=append.deaths > 0)
        except Exception as error:  # noqa: BLE001  # the batch before may have been stored all the same: only a load can tell
            return Unanswered(error, uncertain=True)

    def _answer(self, append: Append, result: AppendResult | Unanswered) -> None:
        with suppress(ActorDeadError):  # its successor knows nothing of this append, and loads what came of it
            writer, written = append.reply_to, Written(append.serial, result)
            if isinstance(writer, Reference):
                writer.tell_here(written)  # a hand-over less; the journal has a thread of its own to block
            else:
                writer.tell(written)

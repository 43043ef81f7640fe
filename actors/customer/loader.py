"""The loads of a process's customers: all that wait are read in one query, and each customer gets its own answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pykka import ActorDeadError

from actors.messages import Loaded, Recipient
from actors.runtime.dispatchers import Executor
from actors.runtime.locks import ShortLock
from store.errors import StoreUnavailableError
from store.port import Lease, Load, Snapshot, Store

logger: Final = logging.getLogger(__name__)

BATCH_MAX: Final = 64
"""Customers in one query. Larger batches make a load no cheaper, and the first customer waits for the last."""
TRANSACTIONS_MAX: Final = 512
"""Transactions to look for in one query, except that a single customer may have more."""
SLOW_S: Final = 0.1
"""A batch that takes longer does not delay the loads that arrive after it."""
_FAILURES_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Load number ``serial`` of a customer, and the present leases of work; ``reply_to`` gets Loaded."""

    load: Load
    work_ids: Sequence[str]
    serial: int
    reply_to: Recipient


class Loader:
    """Loads customers in batches, without an artificial delay: the next batch collects while this one is read.

    There is one batch at a time on ``executor``. Another one starts beside it, up to ``at_once``, when the newest has
    become slow: one lost connection does not stop all customers. Without an executor each load runs in its caller.
    """

    def __init__(
        self, store: Store, executor: Executor | None, monotonic: Callable[[], float], *, at_once: int = 1
    ) -> None:
        self._store, self._executor, self._monotonic, self._at_once = store, executor, monotonic, at_once
        self._lock = ShortLock()
        self._waiting: list[LoadRequest] = []
        self._running = 0
        """Threads that read batches."""
        self._slow_from = 0.0
        """The time from which the newest batch counts as slow."""

    def submit(self, request: LoadRequest) -> None:
        """Load the customer; ``reply_to`` gets an answer in any case."""
        if self._executor is None:
            self._answer(request, self._load_one(request))
            return
        now = self._monotonic()
        with self._lock:
            self._waiting.append(request)
            if self._running and (self._running >= self._at_once or now < self._slow_from):
                return
            self._running += 1
            self._slow_from = now + SLOW_S
        try:
            self._executor.submit(self._run)
        except Exception as error:  # noqa: BLE001  # no thread can be started: the customers try again later
            self._not_started(error)

    def _not_started(self, error: Exception) -> None:
        with self._lock:
            self._running -= 1
            left, self._waiting = (self._waiting, []) if self._running == 0 else ([], self._waiting)
        for request in left:
            self._answer(request, error)

    def _run(self) -> None:
        while batch := self._next_batch():
            for request, result in zip(batch, self._loaded(batch), strict=True):
                self._answer(request, result)

    def _next_batch(self) -> list[LoadRequest]:
        """The loads that wait. When there are none, the thread ends."""
        now = self._monotonic()
        with self._lock:
            batch = self._waiting[: self._fitting()]
            del self._waiting[: len(batch)]
            if batch:
                self._slow_from = now + SLOW_S
            else:
                self._running -= 1
                self._slow_from = now  # those that still run, if any, are slower than this one
            return batch

    def _fitting(self) -> int:
        """How many of the first loads that wait fit into one query."""
        transactions = 0
        for number, request in enumerate(self._waiting[:BATCH_MAX]):
            transactions += len(request.load.transaction_ids)
            if number and transactions > TRANSACTIONS_MAX:
                return number
        return BATCH_MAX

    def _loaded(self, batch: Sequence[LoadRequest]) -> Sequence[Snapshot | BaseException]:
        if len(batch) == 1:
            return [self._load_one(batch[0])]
        began = self._monotonic()
        try:
            return self._store.load_many([request.load for request in batch])
        except BaseException as error:  # noqa: BLE001  # every customer gets an answer, whatever the error
            if isinstance(error, StoreUnavailableError) and self._monotonic() - began >= SLOW_S:
                return [error] * len(batch)  # nothing answers: to ask for each customer would take as long again
            logger.warning("a batch of %s loads failed, and each is tried alone: %r", len(batch), error)
        return self._one_by_one(batch)

    def _one_by_one(self, batch: Sequence[LoadRequest]) -> list[Snapshot | BaseException]:
        """A customer that cannot be read fails alone. After two failures in a row the store counts as away."""
        results: list[Snapshot | BaseException] = []
        failures = 0
        for request in batch:
            result = self._load_one(request) if failures < _FAILURES_MAX else results[-1]
            failures = failures + 1 if isinstance(result, StoreUnavailableError) else 0
            results.append(result)
        return results

    def _load_one(self, request: LoadRequest) -> Snapshot | BaseException:
        try:
            return self._store.load(*request.load)
        except BaseException as error:  # noqa: BLE001  # the same
            return error

    def _answer(self, request: LoadRequest, result: Snapshot | BaseException) -> None:
        leases: dict[str, Lease | None] = {}
        if request.work_ids and isinstance(result, Snapshot):
            try:
                leases.update((work_id, self._store.lease(work_id)) for work_id in request.work_ids)
            except BaseException as error:  # noqa: BLE001  # the same
                result = error
        try:
            request.reply_to.tell(Loaded(request.serial, result, leases))
        except ActorDeadError:
            return  # the successor loads for itself

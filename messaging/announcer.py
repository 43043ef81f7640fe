"""The announcer of work: sends hints of due work to the processors over a broker.

One announcer leads, the others ask for the lease until it expires. It reads queued work that is due, whichever process
queued it, and announces each piece once, and again while nobody claims it. It leases nothing: a hint that is lost or
repeated changes nothing but the time until a processor looks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from math import inf
from typing import Final, NamedTuple, Protocol

from messaging.port import WorkHint, WorkQueue
from messaging.troubles import Troubles
from store.errors import StoreError
from store.port import QueuedWork, RelayStore

logger: Final = logging.getLogger(__name__)

ANNOUNCER_OF_WORK: Final = "work"
"""The name of its lease."""
POLL_S: Final = 0.2
"""The wait between two looks at the due work."""
REPEAT_S: Final = 30.0
"""Work that nobody claimed is announced again after this time."""
DUE_MAX: Final = 100
"""Pieces of a gateway's due work that are read at a time. A processor claims many pieces at one hint."""
STANDBY_S: Final = 1.0
"""The longest wait of an announcer that does not lead before it asks for the lease again."""
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 10.0
"""The wait after an error of the store doubles from the first to the longest."""


class WorkSource(RelayStore, Protocol):
    """What the announcer needs of the store."""

    def queued_due(self, gateways: Collection[str], limit: int) -> list[QueuedWork]:
        """See ``store.port.WorkStore``."""


class AnnouncerState(NamedTuple):
    """The state of an announcer in this process."""

    leading: bool = False
    announced: int = 0
    """Hints that this process gave to its queue, repetitions included."""
    problem: str | None = None
    """Why the newest step failed."""


class WorkAnnouncer:
    """The announcer of this process. ``step`` looks once, and returns how long the caller waits.

    ``owner`` must differ between processes. ``queue`` is its own: it is closed with the announcer.
    """

    def __init__(
        self,
        *,
        owner: str,
        store: WorkSource,
        queue: WorkQueue,
        gateways: Collection[str],
        lease_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._owner, self._store, self._queue = owner, store, queue
        self._gateways, self._lease_s, self._monotonic = sorted(gateways), lease_s, monotonic
        self._token: int | None = None
        """That of the lease; None while another process has it, or it is not known."""
        self._renew_at = 0.0
        self._announced: dict[QueuedWork, float] = {}
        """When the due work was announced. Work that is no longer due is forgotten."""
        self._retry_s = RETRY_FIRST_S
        self._troubles = Troubles(monotonic)
        self.state = AnnouncerState()
        """Replaced as a whole, so that other threads may read it."""

    def run(self, wait: Callable[[float], bool]) -> None:
        """Step until ``wait``, which gets the seconds to wait, returns True. Then gives the lease back."""
        while not wait(self.step()):
            pass
        self.resign()

    def step(self) -> float:
        """Announce due work, or ask for the lease. Returns the seconds until the next step; raises no Exception."""
        try:
            wait_s = self._step()
        except StoreError as error:
            if self._stumble(str(error)):
                logger.warning("due work cannot be announced: %s", error, extra=self._fields())
        except Exception as error:  # a defect must not end the announcer: the next step may succeed
            if self._stumble(f"{type(error).__name__}: {error}"):
                logger.exception("unexpected error in the announcer of work", extra=self._fields())
        else:
            if self._troubles.end():
                logger.info("due work can be announced again", extra=self._fields())
            self._retry_s = RETRY_FIRST_S
            self.state = self.state._replace(problem=None)
            return wait_s
        wait_s, self._retry_s = self._retry_s, min(2 * self._retry_s, RETRY_MAX_S)
        return wait_s

    def resign(self) -> None:
        """Stop leading and close the queue. Another announcer leads at once, or when the lease expires."""
        if self._token is not None:
            try:
                self._store.resign(ANNOUNCER_OF_WORK, self._owner)
            except StoreError as error:
                logger.warning("the lease of the announcer could not be given back: %s", error, extra=self._fields())
            except Exception:  # a defect must not keep the connection open
                logger.exception("unexpected error at the end of the announcer", extra=self._fields())
        self._let_go()
        self._queue.close()

    def _step(self) -> float:
        if not self._leads():
            return min(self._lease_s / 3, STANDBY_S)
        due = self._store.queued_due(self._gateways, DUE_MAX)
        now = self._monotonic()
        self._announced = {work: self._announced[work] for work in due if work in self._announced}
        fresh = [work for work in due if now - self._announced.get(work, -inf) >= REPEAT_S]
        for work in fresh:
            self._queue.announce(WorkHint(work.work_id, work.transaction_id, work.gateway))
            self._announced[work] = now
        if fresh:
            self.state = self.state._replace(announced=self.state.announced + len(fresh))
        return min(POLL_S, self._lease_s / 3)

    def _leads(self) -> bool:
        """Whether this process has the lease. It is renewed when a third of it is over."""
        now = self._monotonic()
        if self._token is None or now >= self._renew_at:
            before, self._token = self._token, None  # until the store has answered
            lease = self._store.lead(ANNOUNCER_OF_WORK, self._owner, self._lease_s)
            if lease is None:
                self._let_go()
                return False
            self._token, self._renew_at = lease.token, now + self._lease_s / 3
            if lease.token != before:
                self._announced = {}  # another process may have announced since
                logger.info("the announcer of work leads", extra=self._fields(token=lease.token))
            self.state = self.state._replace(leading=True)
        return True

    def _stumble(self, problem: str) -> bool:
        """Note why a step failed. Returns whether it is to be logged."""
        self.state = self.state._replace(problem=problem, leading=self._token is not None)
        return self._troubles.is_due(problem)

    def _let_go(self) -> None:
        self._token, self._announced = None, {}
        self.state = self.state._replace(leading=False)

    def _fields(self, **more: object) -> dict[str, object]:
        return {"fields": {"relay": ANNOUNCER_OF_WORK, "owner": self._owner, **more}}

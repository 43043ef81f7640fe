"""Messages that arrive twice or late, as at-least-once delivery allows, and waits in virtual time.

Only messages that the design must tolerate twice are repeated. These are work (its token shows that it was claimed
before), reports (fenced by the same token), answers to loads and appends (identified by their number), records of
shared breakers (identified by their epoch), and hints without content. Direct messages between two actors of one
process, such as SubmissionRecorded and CallFinished, arrive once, but their sender may be slow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, Final

from pykka import ActorDeadError
from pykka._envelope import Envelope

from actors.messages import (
    AdmissionDue,
    BreakerRecordRead,
    BreakerTransition,
    CapacityFree,
    ClaimDue,
    Loaded,
    ParkWork,
    ProbeWanted,
    Recovered,
    ResendDue,
    Submit,
    TimerFired,
    WorkDue,
    Written,
)
from actors.operations.outcome import OutcomeOperation
from actors.runtime.actor import Future
from actors.runtime.mailbox import Mailbox
from tests.simulation.timeline import Timeline

TWICE: Final = (
    Submit,
    Written,
    Loaded,
    TimerFired,
    WorkDue,
    ClaimDue,
    ResendDue,
    ParkWork,
    CapacityFree,
    AdmissionDue,
    Recovered,
    BreakerRecordRead,
    BreakerTransition,
    ProbeWanted,
)
WAIT_S: Final = 0.05
"""Interval at which a virtual thread checks for its answer."""


class MessageFaults:
    """Repeats and delays messages of the process that runs on the time line; does nothing outside of processes."""

    def __init__(self, chance: random.Random, timeline: Timeline, rate: float) -> None:
        self._chance, self._timeline, self._rate = chance, timeline, rate
        self.calm = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Install the faults within the block."""
        put, put_and_run, get = Mailbox.put, Mailbox.put_and_run, Future.get

        def put_maybe_twice(mailbox: Mailbox, envelope: Envelope[Any], /) -> None:
            put(mailbox, envelope)
            self._once_more(envelope.message, lambda again: put(mailbox, Envelope(again)))

        def put_and_run_maybe_twice(mailbox: Mailbox, envelope: Envelope[Any], /) -> None:
            put_and_run(mailbox, envelope)
            self._once_more(envelope.message, lambda again: put(mailbox, Envelope(again)))

        def get_virtually(reply: Future[Any], *, timeout: float | None = None) -> Any:
            return get(reply, timeout=self._wait(reply, timeout))

        Mailbox.put = put_maybe_twice  # type: ignore[method-assign]  # put back below
        Mailbox.put_and_run = put_and_run_maybe_twice  # type: ignore[method-assign]
        Future.get = get_virtually  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Mailbox.put, Mailbox.put_and_run, Future.get = put, put_and_run, get  # type: ignore[method-assign]

    def _once_more(self, message: object, put: Callable[[object], None]) -> None:
        runtime = self._timeline.current
        if self.calm or runtime is None or runtime.dead:
            return
        again = self._again(message)
        if again is not None:

            def put_late() -> None:
                with suppress(ActorDeadError):
                    put(again)

            runtime.after(self._chance.choice([0.0, 0.0, 0.1, 3.0, 100.0]), put_late)
        if isinstance(message, OutcomeOperation) and runtime.job is not None and self._happens():
            runtime.pause(self._chance.choice([0.01, 1.0, 15.0]))  # so that its CallFinished is late

    def _wait(self, reply: Future[Any], timeout: float | None) -> float | None:
        """In a virtual thread, wait in virtual time; return how long to wait in real time afterwards."""
        runtime = self._timeline.current
        if runtime is None or runtime.job is None:
            return timeout
        until = runtime.monotonic() + (inf if timeout is None else timeout)
        while reply._pending.locked() and runtime.monotonic() < until:  # neither answered nor woken
            runtime.pause(WAIT_S)
        return 0

    def _again(self, message: object) -> object | None:
        """The message to repeat; None for most messages."""
        if isinstance(message, OutcomeOperation) and not message.stale:
            return OutcomeOperation(message.item, message.result, message.asked_at) if self._happens() else None
        if isinstance(message, TWICE) and self._happens():
            # Each claim gets one CapacityFree, so the repetition of the work is not marked as claimed.
            return Submit(message.gateway, message.items) if isinstance(message, Submit) else message
        return None

    def _happens(self) -> bool:
        return self._chance.random() < 0.02 * self._rate

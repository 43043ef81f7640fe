"""Messages that come twice or late, as a hand-over that happens at least once may bring them; waiting that is virtual.

Only what the design must survive comes twice: work (its token says that somebody had it), reports (fenced by the
same token), answers to loads and appends (told by their number), and mere hints. What two actors of one process
tell each other in person, such as Cleared and Finished, comes once, but its sender may be slow.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any, Final

from pykka import ActorDeadError
from pykka._envelope import Envelope

from actors.messages import Alarm, Due, Loaded, OutcomeReport, Recovered, Room, Submit, Wake, Written
from actors.runtime.actor import Reply
from actors.runtime.mailbox import Mailbox
from tests.simulation.threads import ThreadedRuntime

TWICE: Final = (Submit, Written, Loaded, Alarm, Due, Room, Wake, Recovered)
WAIT_S: Final = 0.05
"""How often a virtual thread looks whether its answer is there."""


class Mischief:
    """``runtime`` is that of the process that lives; outside of one nothing happens."""

    def __init__(self, chance: random.Random, rate: float) -> None:
        self._chance, self._rate = chance, rate
        self.runtime: ThreadedRuntime | None = None
        self.calm = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """For as long as the block lasts."""
        put, get = Mailbox.put, Reply.get

        def put_maybe_twice(mailbox: Mailbox, envelope: Envelope[Any], /) -> None:
            put(mailbox, envelope)
            runtime = self.runtime
            if self.calm or runtime is None or runtime.dead:
                return
            again = self._again(envelope.message)
            if again is not None:
                delay_s = self._chance.choice([0.0, 0.0, 0.1, 3.0, 100.0])
                runtime.after(delay_s, lambda: _put_late(mailbox, again))
            if isinstance(envelope.message, OutcomeReport) and runtime.job is not None and self._happens():
                runtime.pause(self._chance.choice([0.01, 1.0, 15.0]))  # and its Finished comes late

        def _put_late(mailbox: Mailbox, message: object) -> None:
            with suppress(ActorDeadError):
                put(mailbox, Envelope(message))

        def get_virtually(reply: Reply[Any], *, timeout: float | None = None) -> Any:
            runtime = self.runtime
            if runtime is not None and runtime.job is not None:
                until = runtime.monotonic() + (inf if timeout is None else timeout)
                while reply._waits.locked() and runtime.monotonic() < until:  # neither answered nor woken
                    runtime.pause(WAIT_S)
                timeout = 0
            return get(reply, timeout=timeout)

        Mailbox.put = put_maybe_twice  # type: ignore[method-assign]  # put back below
        Reply.get = get_virtually  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Mailbox.put, Reply.get = put, get  # type: ignore[method-assign]

    def _again(self, message: object) -> object | None:
        """What comes once more; None for most."""
        if isinstance(message, OutcomeReport) and not message.stale:
            return OutcomeReport(message.item, message.result, message.asked_at) if self._happens() else None
        if isinstance(message, TWICE) and self._happens():
            # Room is owed once for what was claimed; the work itself is what comes twice.
            return Submit(message.gateway, message.items) if isinstance(message, Submit) else message
        return None

    def _happens(self) -> bool:
        return self._chance.random() < 0.02 * self._rate

"""The orders in which things may happen to one transaction, and the provider that takes part in them.

The call to the provider waits until the test releases its answer; the provider has acted already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations
from typing import Final, Literal, NamedTuple

from greenlet import getcurrent, greenlet

from domain.money import Money
from domain.outcomes import Approved, Category, Declined, NotReceived, Outcome, OutcomeUnknownError
from gateways.port import Acceptance, Notice, Order, WebhookPayload
from tests.actors.support import GATEWAY
from tests.gateway_facts import SameForAll

REFERENCE: Final = "P-1"
"""The provider's reference for the first order."""
AMOUNT: Final = 700
"""The amount that is moved, in minor units."""
DECLINED: Final = Declined("do_not_honor", Category.HARD, "no", REFERENCE)


class Step(NamedTuple):
    """One thing that happens. ``dies``: whether and when the process dies at it.

    ``unstored``: just before it is stored. ``unanswered``: after it is stored and before any answer.
    """

    what: str
    dies: Literal["", "unstored", "unanswered"] = ""

    def __str__(self) -> str:
        return f"{self.what}/{self.dies}" if self.dies else self.what


CRASH: Final = Step("crash")
DEATHS: Final[tuple[Literal["unstored", "unanswered"], ...]] = ("unstored", "unanswered")


def observable(order: Sequence[Step]) -> tuple[Step, ...]:
    """The order without an answer that arrives after the waiting process died, because such an answer has no effect."""
    crash = next((place for place, step in enumerate(order) if step == CRASH or step.dies), len(order))
    return tuple(step for place, step in enumerate(order) if step.what != "answer" or place <= crash)


def orders(things: Sequence[str]) -> Iterator[tuple[Step, ...]]:
    """Every different order of ``things``: without a crash, and with a crash at every place.

    The places are before the first, between any two, after the last, and in each one before it is stored or answered.
    """
    for order in sorted({*permutations(things)}):
        steps = tuple(Step(what) for what in order)
        yield steps
        for place in range(len(steps) + 1):
            yield (*steps[:place], CRASH, *steps[place:])
        for place, step in enumerate(steps):
            for dies in DEATHS:
                yield (*steps[:place], Step(step.what, dies), *steps[place + 1 :])


@dataclass(frozen=True)
class Scenario:
    """What the provider does with its one request, and what it reports.

    ``answer``: success, pending, declined or lost. ``completes``: whether the money moves. ``says``: the content of its
    callbacks, which is true unless they contradict the provider's state.
    """

    answer: str
    completes: bool
    says: bool

    def __str__(self) -> str:
        callback = "completed" if self.says else "failed"
        return f"{self.answer}-{'moves' if self.completes else 'moves-not'}-{callback}"


def truthful(answer: str, *, completes: bool) -> Scenario:
    """A scenario whose callbacks report what happened."""
    return Scenario(answer, completes, completes)


class Provider(SameForAll):
    """Implements gateways.port.Gateway and gateways.port.Callbacks. A pending payment ends with its first callback."""

    def __init__(self, scenario: Scenario, *, keys: bool) -> None:
        self._scenario = scenario
        self.name, self.currencies = GATEWAY, frozenset({"USD"})
        self.honours_keys = keys
        self.callbacks, self.acceptance = self, Acceptance()
        self.settled = scenario.answer != "pending"
        self.sendings = self.asked = 0
        self.out: greenlet | None = None
        """The call that waits for its answer."""

    def settle(self) -> None:
        """Decide the final result of a pending payment."""
        self.settled = True

    def submit(self, _order: Order) -> Outcome:
        """See Gateway."""
        self.sendings += 1
        if self.sendings > 1:
            self.asked += 1
            assert self.honours_keys, "sent twice without a key"
            return self._truth()
        self.out = getcurrent()
        assert self.out.parent is not None
        self.out.parent.switch()
        answers: dict[str, Outcome] = {
            "success": Approved(REFERENCE, final=True),
            "pending": Approved(REFERENCE, final=False),
            "declined": DECLINED,
        }
        if self._scenario.answer == "lost":
            raise OutcomeUnknownError("deadline")
        return answers[self._scenario.answer]

    def lookup(self, _order: Order) -> Outcome | NotReceived:
        """See Gateway."""
        self.asked += 1
        return self._truth()

    def close(self) -> None:
        """See Gateway."""

    def read(self, headers: Mapping[str, str], body: bytes, _now: datetime) -> Sequence[Notice]:
        """See Callbacks."""
        outcome: Outcome = Approved(REFERENCE, final=True) if self._scenario.says else DECLINED
        payload = WebhookPayload(body.decode(), REFERENCE, Money(AMOUNT, "USD"), outcome)
        return (Notice(headers["id"], body, payload),)

    @property
    def moved(self) -> int:
        """How often the money moved."""
        if self.honours_keys:
            return int(self.sendings > 0 and self.settled and self._scenario.completes)
        return self.sendings if self.settled and self._scenario.completes else 0

    def _truth(self) -> Outcome:
        if not self.settled:
            return Approved(REFERENCE, final=False)
        return Approved(REFERENCE, final=True) if self._scenario.completes else DECLINED

"""An independent calculation of the state that a history of commands must lead to, and the ways to each state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.account import Account, Balance, Refused
from domain.commands import Adjust, CloseReview, Command, Receive, ReceiveChild, RecordOutcome
from domain.events import (
    BalanceAdjusted,
    Completed,
    Event,
    Failed,
    Kind,
    Received,
    Recorded,
    ReviewOpened,
    Submitted,
    Voided,
)
from domain.money import Money
from domain.outcomes import Authorization
from domain.state_machine import decide, evolve

START = datetime(2026, 11, 1, tzinfo=UTC)
EXPIRES = START + timedelta(days=7)
HOLD = "hold"
"""The authorization that ``receive`` makes for a capture or void."""


@dataclass(slots=True)
class Amounts:
    """The amounts of a deposit by the events of its children. ``ending``: captures and voids that did not fail."""

    captured: int | None
    refunded: int
    refunding: int
    ending: list[str]


class Ledger:
    """The expected state of a history, computed independently of the code under test."""

    def __init__(self) -> None:
        self.account = Account("c")
        self.events: list[Event] = []
        self.decisions: list[Sequence[Event]] = []

    def apply(self, command: Command) -> Sequence[Event] | Refused:
        """Decide the command, and evolve the account by its events."""
        answer = decide(self.account, command)
        if not isinstance(answer, Refused):
            self.decisions.append(answer)
            for event in answer:
                version = self.account.version + 1
                self.account = evolve(self.account, Recorded(version, START + timedelta(seconds=version), event))
                self.events.append(event)
        return answer

    def known(self, command: Command) -> bool:
        """Whether the account holds the transaction that the command names."""
        if isinstance(command, Receive | Adjust | CloseReview):
            return True
        if isinstance(command, ReceiveChild):
            return command.parent_id in self.account.transactions
        return command.transaction_id in self.account.transactions

    def event_names(self, transaction_id: str) -> list[str]:
        """The names of a transaction's events in order, without submissions and reviews."""
        return [
            type(event).__name__
            for event in self.events
            if not isinstance(event, Submitted | ReviewOpened)
            and getattr(event, "transaction_id", "") == transaction_id
        ]

    def balance(self, currency: str) -> Balance:
        """The sum of completed deposits, reserves and adjustments, computed from the events."""
        available = reserved = 0
        for event in self.events:
            if isinstance(event, BalanceAdjusted) and event.money.currency == currency:
                available += event.money.minor
            if not isinstance(event, Received) or event.money.currency != currency:
                continue
            end, minor = self.event_names(event.transaction_id)[-1], event.money.minor
            if event.kind is Kind.DEPOSIT:
                captured = self.amounts(event.transaction_id).captured
                taken = captured if event.manual_capture else minor
                available += (taken or 0) if end == "Completed" else 0
            elif event.reserved:
                available -= 0 if end == "Failed" else minor
                reserved += 0 if end in {"Completed", "Failed"} else minor
        return Balance(available, reserved)

    def amounts(self, parent_id: str) -> Amounts:
        """The amounts of a deposit: the sums of its children, computed from the events."""
        amounts = Amounts(captured=None, refunded=0, refunding=0, ending=[])
        for child in self._received(parent_id):
            end, minor = self.event_names(child.transaction_id)[-1], child.money.minor
            if child.kind is not Kind.REFUND:
                amounts.ending += [] if end == "Failed" else [child.transaction_id]
                if child.kind is Kind.CAPTURE and end == "Completed":
                    amounts.captured = (amounts.captured or 0) + minor
            elif end == "Completed":
                amounts.refunded += minor
            elif end != "Failed":
                amounts.refunding += minor
        return amounts

    def _received(self, parent_id: str) -> Iterator[Received]:
        return (event for event in self.events if isinstance(event, Received) and event.parent_id == parent_id)


def receive(ledger: Ledger, kind: Kind, transaction_id: str, money: Money) -> None:
    """Accept a transaction of any kind: a refund is one of ``t0``, and a capture or void gets a new authorization."""
    if kind in {Kind.DEPOSIT, Kind.WITHDRAWAL}:
        ledger.apply(Receive(kind, transaction_id, "gatewayA", money, {"order": "7"}))
    elif kind is Kind.REFUND:
        ledger.apply(ReceiveChild(kind, transaction_id, "t0", money.minor))
    else:
        ledger.apply(Receive(Kind.DEPOSIT, HOLD, "gatewayA", money, {}, manual_capture=True))
        ledger.apply(RecordOutcome(HOLD, Authorization("A-0", EXPIRES)))
        ledger.apply(ReceiveChild(kind, transaction_id, HOLD))


def ends(events: Sequence[Event]) -> dict[str, Event]:
    """The terminal events of a decision by their transactions."""
    return {event.transaction_id: event for event in events if isinstance(event, Completed | Voided | Failed)}

"""An independent calculation of the state that a history of commands must lead to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from domain.account import Account, Balance, Refused
from domain.commands import Adjust, CloseReview, Command, Receive
from domain.events import (
    BalanceAdjusted,
    Event,
    Kind,
    Received,
    Recorded,
    ReviewOpened,
    Submitted,
)
from domain.state_machine import decide, evolve

START = datetime(2026, 11, 1, tzinfo=UTC)


class Ledger:
    """The expected state of a history, computed independently of the code under test."""

    def __init__(self) -> None:
        self.account = Account("c")
        self.events: list[Event] = []

    def apply(self, command: Command) -> Sequence[Event] | Refused:
        """Decide the command, and evolve the account by its events."""
        answer = decide(self.account, command)
        if not isinstance(answer, Refused):
            for event in answer:
                version = self.account.version + 1
                self.account = evolve(self.account, Recorded(version, START + timedelta(seconds=version), event))
                self.events.append(event)
        return answer

    def known(self, command: Command) -> bool:
        """Whether the account holds the transaction that the command names."""
        if isinstance(command, Receive | Adjust | CloseReview):
            return True
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
                available += minor if end == "Completed" else 0
            elif event.reserved:
                available -= 0 if end == "Failed" else minor
                reserved += 0 if end in {"Completed", "Failed"} else minor
        return Balance(available, reserved)

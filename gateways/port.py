"""The port to a payment provider: what is sent, what comes back. One adapter file per gateway implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from domain.events import Kind
from domain.money import Money
from domain.outcomes import NotReceived, Outcome


@dataclass(frozen=True, slots=True)
class Order:
    """What a provider is asked to do: ``kind`` for ``money``, under our ``transaction_id`` as reference and key."""

    transaction_id: str
    kind: Kind
    money: Money
    customer_id: str
    details: Mapping[str, str]


class Gateway(Protocol):
    """One configured provider. Its methods block up to the total deadline and may be called from many threads.

    A decline is a value; an error means that the outcome is not known (see ``domain.outcomes``).
    """

    @property
    def name(self) -> str:
        """The name that clients send as ``gateway``."""

    @property
    def currencies(self) -> frozenset[str]:
        """The ISO 4217 codes that the provider takes."""

    @property
    def honours_keys(self) -> bool:
        """Whether the same key twice is surely one effect."""

    @property
    def looks_up(self) -> bool:
        """Whether the provider can be asked what became of an order; else ``lookup`` is never called."""

    @property
    def idempotency_window_s(self) -> float:
        """For how long after its first use the provider remembers a key; 0 when it honours none."""

    def submit(self, order: Order) -> Outcome:
        """Ask the provider to move the money. Raises NotSentError, OutcomeUnknownError."""

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Ask what became of ``order``. Raises NotSentError, OutcomeUnknownError when that cannot be told now."""

    def close(self) -> None:
        """Close pooled connections; calls under way may still finish."""

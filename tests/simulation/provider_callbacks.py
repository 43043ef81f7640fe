"""Callbacks of providers: outcomes of orders, and sometimes impossible or forged reports."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import orjson

from domain.money import Money
from gateways.port import Order
from tests.simulation.callback_delivery import Delivery, Notifier

LATE_S: Final = (0.0, 0.0, 0.01, 1.0, 30.0, 400.0, 8_000.0)
ODD_S: Final = (0.0, 1.0, 60.0, 900.0)
UNREADABLE: Final = (b"", b"{", b"\xff\xfe", b"[]", b'{"reference": 5}', b'{"status": "completed", "status": "failed"}')
OTHER: Final = {
    "completed": "failed",
    "failed": "completed",
    "authorized": "failed",
    "cancelled": "authorized",
    "expired": "authorized",
}
"""For each status another one, which is not the truth, or no longer."""


class Callbacks:
    """Creates the callbacks of all providers. ``rate`` is the rate of odd callbacks."""

    def __init__(self, chance: random.Random, notifier: Notifier, rate: float, gateways: Sequence[str]) -> None:
        self._chance, self._notifier, self._rate, self._gateways = chance, notifier, rate, gateways
        self._numbers = count(1)
        self.calm = False

    def tell(self, gateway: str, order: Order, reference: str, status: str) -> None:
        """Send the true outcome of ``order``, and sometimes also an odd callback about it."""
        said = _said(order.transaction_id, reference, status, order.money)
        letter = self._letter(gateway, said)
        self._notifier.send(letter)
        odd = self._odd(gateway, letter, said)
        if odd is not None and not self.calm and self._chance.random() < 0.3 * self._rate:
            self._notifier.after(self._chance.choice(ODD_S), lambda: self._notifier.send(odd))

    def after_request(self, gateway: str, transaction_id: str, money: Money) -> None:
        """After a client's request, sometimes send a callback before the call."""
        if self.calm or self._chance.random() >= 0.02 * self._rate:
            return
        status = self._chance.choice(["completed", "failed"])
        letter = self._letter(gateway, _said(transaction_id, f"early-{next(self._numbers)}", status, money))
        self._notifier.after(self._chance.choice([0.0, 0.0, 0.001, 0.01, 1.0]), lambda: self._notifier.send(letter))

    def late_s(self) -> float:
        """Delay of a callback after the end of its order."""
        return 0.0 if self.calm else self._chance.choice(LATE_S)

    def _odd(self, gateway: str, letter: Delivery, said: dict[str, Any]) -> Delivery | None:
        """An odd variant of ``letter``, whose content is ``said``."""
        other = OTHER[said["status"]]
        more = {**said, "amount": f"1{said['amount']}"}
        match self._chance.randrange(8):
            case 0:
                return self._letter(gateway, {**said, "status": other})
            case 1:
                return self._letter(gateway, more)
            case 2:
                return Delivery(gateway, self._event_id(), self._chance.choice(UNREADABLE))
            case 3:
                return self._letter(gateway, {**said, "reference": f"absent-{next(self._numbers)}"})
            case 4:
                another = self._chance.choice([each for each in self._gateways if each != gateway])
                return self._letter(another, said)
            case 5:
                return Delivery(gateway, letter.event_id, self._chance.choice([_body(more), b"{}"]))
            case 6:
                return Delivery(gateway, self._event_id(), _body({**said, "status": other}), forged=True)
            case _:
                return Delivery(gateway, letter.event_id, _body({**said, "status": other}), forged=True)

    def _letter(self, gateway: str, said: dict[str, Any]) -> Delivery:
        return Delivery(gateway, self._event_id(), _body(said))

    def _event_id(self) -> str:
        return f"e-{next(self._numbers)}"


def _said(reference: str, gateway_reference: str, status: str, money: Money) -> dict[str, Any]:
    return {
        "reference": reference,
        "id": gateway_reference,
        "status": status,
        "amount": money.text,
        "currency": money.currency,
    }


def _body(said: dict[str, Any]) -> bytes:
    return orjson.dumps(said)

"""The troubles that ``POST /faults`` orders, by gateway, and whether a call meets one; knows no wire format."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Final

LATENCY_S_MAX: Final = 60.0


class FaultsError(ValueError):
    """An order that makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares (0 to 1) of calls, lookups included, that meet a trouble.

    ``unknown``: done, and then the connection is closed without an answer. ``error``: status 500, nothing done.
    ``refuse``: the connection is closed, nothing done. ``outage``: the same for all calls, or for a share of them.
    ``latency_s`` passes before anything else.
    """

    unknown: float = 0.0
    error: float = 0.0
    refuse: float = 0.0
    latency_s: float = 0.0
    outage: float = 0.0


class FaultBook:
    """The faults in force for each of ``gateways``."""

    def __init__(self, gateways: list[str], draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._faults = dict.fromkeys(gateways, Faults())

    def order(self, order: Mapping[str, object]) -> Mapping[str, Faults]:
        """Set what ``order`` names, for one gateway or all, and leave the rest; an order of nothing ends them all.

        Returns what is in force now. Raises FaultsError.
        """
        names = {field.name for field in fields(Faults)}
        unknown = order.keys() - names - {"gateway"}
        if unknown:
            raise FaultsError(f"not known: {', '.join(sorted(unknown))}")
        gateway = order.get("gateway")
        if gateway is not None and gateway not in self._faults:
            raise FaultsError("no such gateway")
        changes = {name: _amount(name, order[name]) for name in names & order.keys()}
        for name in self._faults if gateway is None else [str(gateway)]:
            self._faults[name] = replace(self._faults[name], **changes) if changes else Faults()
        return self._faults

    def of(self, gateway: str) -> Faults:
        """What is in force for ``gateway``."""
        return self._faults[gateway]

    def hits(self, share: float) -> bool:
        """Whether this call is one of the ``share``."""
        return share > 0 and self._draw() < share


def _amount(name: str, value: object) -> float:
    high = LATENCY_S_MAX if name == "latency_s" else 1.0
    if isinstance(value, bool) and name == "outage":
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value <= high:
        raise FaultsError(f"{name} must be a number from 0 to {high:g}")
    return float(value)

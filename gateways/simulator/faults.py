"""Faults that ``POST /faults`` injects, by gateway, and the draw for each call. Independent of the wire formats."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Final

LATENCY_S_MAX: Final = 60.0


class FaultsError(ValueError):
    """An invalid request to inject faults; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares (0 to 1) of calls, lookups included, that get a fault.

    ``unknown``: the call has its effect, then the connection is closed without a response. ``error``: status 500, no
    effect. ``refuse``: the connection is closed, no effect. ``outage``: the same for all calls, or a share of them.
    ``latency_s`` passes before everything else.
    """

    unknown: float = 0.0
    error: float = 0.0
    refuse: float = 0.0
    latency_s: float = 0.0
    outage: float = 0.0


class FaultInjection:
    """The present faults of each of ``gateways``."""

    def __init__(self, gateways: list[str], draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._faults = dict.fromkeys(gateways, Faults())

    def update(self, wanted: Mapping[str, object]) -> Mapping[str, Faults]:
        """Set the faults in ``wanted``, for one gateway or all, and keep the others. Without faults: remove all.

        Returns the present faults. Raises FaultsError.
        """
        names = {field.name for field in fields(Faults)}
        unknown = wanted.keys() - names - {"gateway"}
        if unknown:
            raise FaultsError(f"not known: {', '.join(sorted(unknown))}")
        gateway = wanted.get("gateway")
        if gateway is not None and gateway not in self._faults:
            raise FaultsError("no such gateway")
        changes = {name: _amount(name, wanted[name]) for name in names & wanted.keys()}
        for name in self._faults if gateway is None else [str(gateway)]:
            self._faults[name] = replace(self._faults[name], **changes) if changes else Faults()
        return self._faults

    def of(self, gateway: str) -> Faults:
        """The present faults of ``gateway``."""
        return self._faults[gateway]

    def hits(self, share: float) -> bool:
        """Draw whether this call belongs to the ``share``."""
        return share > 0 and self._draw() < share


def _amount(name: str, value: object) -> float:
    high = LATENCY_S_MAX if name == "latency_s" else 1.0
    if isinstance(value, bool) and name == "outage":
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not 0 <= value <= high:
        raise FaultsError(f"{name} must be a number from 0 to {high:g}")
    return float(value)

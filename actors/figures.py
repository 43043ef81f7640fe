"""The state of a process in numbers, as it is at the moment: what operators watch. Plain values, sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class GatewayFigures(NamedTuple):
    """One gateway in this process: its breaker (``closed``, ``open``, ``half_open``), and its bulkhead."""

    name: str
    breaker: str
    in_flight: int
    waiting: int
    slots: int


class ProcessFigures(NamedTuple):
    """One process; ``mailboxes`` are the messages that wait, by the kind of actor."""

    mailboxes: Mapping[str, int]
    customers: int
    """Customers' actors that live, most of them idle."""
    requests: int
    """Requests whose answer is waited for."""
    gateways: tuple[GatewayFigures, ...]

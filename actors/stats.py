"""The state of a process in numbers, as it is at the moment: what operators watch. Plain values, sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class GatewayStats(NamedTuple):
    """One gateway in this process: its breaker (``closed``, ``open``, ``half_open``), and its bulkhead."""

    name: str
    breaker: str
    in_flight: int
    waiting: int
    slots: int


class AdmissionStats(NamedTuple):
    """Callers of one kind: ``inside``, at most ``inside_max``, are with the actors; ``outside`` wait to be let in.

    ``refused`` are all who waited there in vain since the process began.
    """

    inside: int
    outside: int
    refused: int
    inside_max: int


class ProcessStats(NamedTuple):
    """One process; ``mailboxes`` are the messages that wait, by the kind of actor."""

    mailboxes: Mapping[str, int]
    customers: int
    """Customers' actors that live, most of them idle."""
    admissions: Mapping[str, AdmissionStats]
    """``commands``, and ``others``: callbacks and people's orders."""
    gateways: tuple[GatewayStats, ...]

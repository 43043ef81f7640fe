"""Statistics of a process, sampled for metrics: plain values."""

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
    """Requests of one kind: ``inside`` (at most ``inside_max``) are processed; ``outside`` are queued before that.

    ``refused`` counts those whose wait timed out since the process started.
    """

    inside: int
    outside: int
    refused: int
    inside_max: int


class ProcessStats(NamedTuple):
    """One process. ``mailboxes``: waiting messages by kind of actor."""

    mailboxes: Mapping[str, int]
    customers: int
    """Live actors of customers, most of them idle."""
    admissions: Mapping[str, AdmissionStats]
    """By kind: ``commands``, and ``others`` for callbacks and operator commands."""
    gateways: tuple[GatewayStats, ...]

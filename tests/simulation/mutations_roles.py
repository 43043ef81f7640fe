"""Mutations of what processes of single roles did: see ``mutations``."""

from __future__ import annotations

from typing import Any, Final

from tests.simulation.history import History
from tests.simulation.mutations_callbacks import first
from tests.simulation.mutations_events import Falsify


def _process(history: History, role: str) -> int:
    number: int = first(entry for entry in history.of("boot") if entry["role"] == role)["process"]
    return number


def _owner(history: History, role: str) -> str:
    process = _process(history, role)
    owner: str = first(entry for entry in history.of("owner") if entry["process"] == process)["owner"]
    return owner


def _done_by(role: str, what: str) -> Falsify:
    """Another process than the one with that role does the first of these."""

    def mutate(history: History) -> None:
        first(each for each in history.entries if each["what"] == what)["process"] = _process(history, role)

    return mutate


def _lease(history: History) -> list[Any]:
    rows = (row for entry in history.of("work") for row in entry["rows"].values() if row is not None)
    found: list[Any] = first(row for row in rows if row[1] == "leased")
    return found


def _leased_by(role: str) -> Falsify:
    def mutate(history: History) -> None:
        _lease(history)[2] = _owner(history, role)

    return mutate


def _leased_by_nobody(history: History) -> None:
    _lease(history)[2] = "another"


def _hint_taken_for_a_claim(history: History) -> None:
    """A processor calls a provider for work that a hint named and that it has not claimed."""
    call = first(each for each in history.entries if each["what"] == "call")
    for entry in history.of("work"):
        if (row := entry["rows"].get(call["key"])) is not None:
            row[2] = None
    for entry in history.of("write"):
        for part in entry["parts"]:
            part["work"] = [change for change in part["work"] if change[1] != call["key"]]


ROLES: Final[list[tuple[Falsify, str]]] = [
    (_done_by("api", "call"), "roles: the api process 0 called a provider"),
    (_done_by("relay", "call"), "roles: the relay process .* called a provider"),
    (_leased_by("api"), "roles: the api process 0 leased"),
    (_leased_by("relay"), "roles: the relay process .* leased"),
    (_leased_by_nobody, "roles: .* to an owner that never registered"),
    (_hint_taken_for_a_claim, "roles: process .* has never leased its work"),
    (_done_by("relay", "sent"), "roles: the relay process .* accepted a command"),
    (_done_by("processor", "sent"), "roles: the processor process .* accepted a command"),
    (_done_by("api", "published"), "roles: the api process 0 published"),
    (_done_by("processor", "announced"), "roles: the processor process .* announced"),
    (_done_by("api", "hinted"), "roles: the api process 0 got a hint"),
]
"""Mutations of histories for which ``mutations_events.has_deliveries`` holds."""

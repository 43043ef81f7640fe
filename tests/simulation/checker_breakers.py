"""Promise 13: no call while a breaker is open, and one probe; judged when calls are passed to their bulkheads.

After that point, only the expiry of its permit can stop a call. The rules cover each process, and all processes
together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.simulation.history import History

Entry = Mapping[str, Any]
LOOK_S: Final = 2.0
"""Time within which an unhindered process must follow another one's change; it reads the records twice a second."""


@dataclass
class _Breaker:
    state: str = "closed"
    probes: int = 0


@dataclass
class _Order:
    """The mode that operators have set for a gateway's breaker."""

    mode: str = "auto"
    of: int = 0
    """The process that received the command."""
    since: float = 0.0
    in_doubt: set[int] = field(default_factory=set)
    """Processes with an operator command that may still be executed at any time, or never."""


@dataclass
class _Record:
    """The shared record of a breaker."""

    state: str = "closed"
    epoch: int = 0
    prober: int | None = None
    since: float = 0.0


def breaker_violations(history: History) -> Iterator[str]:
    """Every call that the promise forbids."""
    watch = _Breakers()
    for entry in history.entries:
        yield from watch.see(entry)


class _Breakers:
    def __init__(self) -> None:
        self._breakers: dict[tuple[int, str], _Breaker] = defaultdict(_Breaker)
        self._orders: dict[str, _Order] = defaultdict(_Order)
        self._records: dict[str, _Record] = defaultdict(_Record)
        self._hindered: dict[int, float] = {}
        """Times since which each process could read the other processes' changes."""
        self._cut: set[int] = set()
        self._probing: dict[tuple[int, str, int | None], bool] = {}
        """Jobs that were passed on as probes, and whether they have begun."""
        self._probes: Counter[tuple[str, int]] = Counter()
        """Probes that have begun, by gateway and epoch."""

    def see(self, entry: Entry) -> Iterator[str]:
        """Update the state from ``entry``, and report violations."""
        process = entry.get("process", 0)
        match entry["what"]:
            case "breaker":
                breaker = self._breakers[process, entry["gateway"]]
                breaker.state, breaker.probes = entry["state"], 0
            case "record":
                self._records[entry["gateway"]] = _Record(entry["state"], entry["epoch"], entry["prober"], entry["at"])
            case "mode":
                self._order(process, entry)
            case "handed":
                yield from self._handed(process, entry)
            case "call":
                yield from self._begun(process, entry)
            case _:
                self._live(process, entry)

    def _live(self, process: int, entry: Entry) -> None:
        """Update whether each process can read the other processes' changes."""
        match entry["what"]:
            case "boot":
                self._boot(process, entry["at"])
            case "end":
                for order in self._orders.values():
                    order.in_doubt.discard(process)
            case "still":  # the whole machine
                for each in self._hindered:
                    self._hindered[each] = entry["at"]
            case "hindered" | "thaw":
                self._hindered[process] = entry["at"]
            case "cut":
                self._cut.add(process)
            case "healed":
                self._cut.discard(process)
                self._hindered[process] = entry["at"]

    def _boot(self, process: int, at: float) -> None:
        self._hindered[process] = at
        self._cut.discard(process)
        for (of, _), breaker in self._breakers.items():
            if of == process:
                breaker.state, breaker.probes = "closed", 0

    def _order(self, process: int, entry: Entry) -> None:
        """Between a command and its answer either mode may hold; without an answer it may be executed later."""
        before = self._orders[entry["gateway"]]
        in_doubt = {*before.in_doubt, process} if entry["phase"] == "ordered" else before.in_doubt - {process}
        mode = entry["mode"] if entry["phase"] == "done" and not in_doubt else ""
        self._orders[entry["gateway"]] = _Order(mode, process, entry["at"], in_doubt)

    def _handed(self, process: int, entry: Entry) -> Iterator[str]:
        gateway = entry["gateway"]
        breaker, order, record = self._breakers[process, gateway], self._orders[gateway], self._records[gateway]
        where = f"{gateway} at {entry['at']} from process {process}"
        breaker.probes += 1
        if breaker.state == "open":
            yield f"13: a call to {where} while its breaker was open"
        if breaker.state == "half_open":
            self._probing[process, gateway, entry.get("job")] = False
            if breaker.probes > 1:
                yield f"13: a call to {where} beside the probe"
        if order.mode == "open" and (process == order.of or self._must_know(process, order.since, entry["at"])):
            yield f"13: a call to {where} against the operator's order"
        if order.mode == "auto" and record.state != "closed" and record.prober != process:
            since = max(record.since, order.since)
            if self._must_know(process, since, entry["at"]):
                yield f"13: a call to {where} although another process had recorded it as {record.state} at {since}"

    def _begun(self, process: int, entry: Entry) -> Iterator[str]:
        """Check the first call of a job that was passed on as a probe."""
        gateway = entry["gateway"]
        job: tuple[int, str, int | None] = (process, gateway, entry.get("job"))
        record = self._records[gateway]
        if self._probing.get(job) is not False:
            return
        self._probing[job] = True
        where = f"{gateway} at {entry['at']} from process {process}"
        if record.state == "half_open":
            self._probes[gateway, record.epoch] += 1
            if record.prober != process:
                yield f"13: a probe to {where} while process {record.prober} had the probe"
            elif self._probes[gateway, record.epoch] > 1:
                yield f"13: a second probe to {where} in the same half-open epoch"

    def _must_know(self, process: int, since: float, at: float) -> bool:
        """Whether ``process`` has had enough time to read a change of the time ``since``."""
        return process not in self._cut and at - max(since, self._hindered.get(process, 0.0)) > LOOK_S

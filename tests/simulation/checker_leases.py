"""Leadership: no other owner leads before the end of a lease, and each takeover raises the token.

It holds for the relay of events and for the announcer of work. All times of leases are by the store's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.simulation.history import History

Entry = Mapping[str, Any]
WORK: Final = "work"
"""The name of the announcer of work."""


def lease_violations(history: History) -> Iterator[str]:
    """Every takeover of a live lease, every takeover without a new token, and every announcement without a lease."""
    watch = _Watch()
    for entry in history.entries:
        yield from watch.see(entry)


@dataclass(frozen=True)
class _Lease:
    owner: str
    token: int
    since: float
    until: float
    given_back: bool = False


class _Watch:
    def __init__(self) -> None:
        self._leases: dict[str, _Lease] = {}
        """The newest lease of each name."""
        self._announcers: set[int] = set()
        """The processes that have led as announcers since their start."""

    def see(self, entry: Entry) -> Iterator[str]:
        """Update the state from ``entry``, and report violations."""
        match entry["what"]:
            case "boot":
                self._announcers.discard(entry["process"])
            case "led":
                yield from self._led(entry)
            case "resigned":
                before = self._leases.get(entry["name"])
                if before is not None and before.owner == entry["owner"]:
                    self._leases[entry["name"]] = replace(before, given_back=True)
            case "announced" if entry["process"] not in self._announcers:
                yield f"leases: process {entry['process']} announced {entry['id']} and has never led"

    def _led(self, entry: Entry) -> Iterator[str]:
        name, at = entry["name"], entry["at"]
        lease = _Lease(entry["owner"], entry["token"], entry["since"], entry["until"])
        before = self._leases.get(name)
        if before is not None:
            yield from (f"leases: {wrong} of {name} at {at}" for wrong in _wrong(before, lease))
        self._leases[name] = lease
        if name == WORK:
            self._announcers.add(entry["process"])


def _wrong(before: _Lease, lease: _Lease) -> Iterator[str]:
    """What is wrong with ``lease``, which follows ``before``."""
    is_new = lease.owner != before.owner or before.given_back
    if lease.token < before.token or (is_new and lease.token == before.token):
        yield f"{lease.owner} has token {lease.token} after {before.owner} had {before.token} in the lease"
    # A lease that begins in the future is of a clock that was set back: it may be taken.
    in_future = before.since > lease.until
    if lease.owner != before.owner and not before.given_back and not in_future and lease.since < before.until:
        yield f"{lease.owner} took the lease {before.until - lease.since:g} s before the end of that of {before.owner}"

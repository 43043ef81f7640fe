"""A relay, a publisher or a role that is broken on purpose: the simulation finds it within a few seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from messaging.message import Message
from messaging.port import Published, Refused
from messaging.relay import Relay
from messaging.waves import Numbered, SendWave
from store.port import RelayLease, StoredEvent
from tests.simulation import broker, world
from tests.simulation.checker import violations
from tests.simulation.relay_stores import FaultyRelayStore, RecordingRelays
from tests.simulation.roles import Role, shape_of
from tests.simulation.world import simulate

ROLES_APART: Final = shape_of("api,processor,relay,relay")
SEEDS_MAX: Final = 60
FOUND_BEFORE: Final = 14
"""The seed that finds the rarest of them: an event is refused there. The others are found by the first seed."""
SEED_OF_LARGE_BATCHES: Final = 2
"""A seed with a lease of 15 s, a large batch, and many events of one customer."""
ENOUGH_STEPS: Final = 8_000
"""Steps in which that world comes to rest after its last fault."""
Break = Callable[[pytest.MonkeyPatch], None]


def _checkpoint_first(patch: pytest.MonkeyPatch) -> None:
    """The checkpoint moves before the batch is published."""
    publish = Relay._publish

    def move_and_publish(relay: Relay, lease: RelayLease, events: Sequence[StoredEvent]) -> float:
        relay._store.advance(relay._name, lease.token, events[-1].position, lease.generation)
        return publish(relay, lease, events)

    patch.setattr(Relay, "_publish", move_and_publish)


def _one_wave(patch: pytest.MonkeyPatch) -> None:
    """All messages of a batch are sent at once."""

    def publish(batch: Sequence[Message], send: SendWave) -> Published:
        refusals = send([Numbered(place, message) for place, message in enumerate(batch)])
        end = min(refusals, default=len(batch))
        return Published(end, Refused(batch[end].position, refusals[end]) if refusals else None)

    patch.setattr(broker, "publish_in_waves", publish)


def _skip_refused(patch: pytest.MonkeyPatch) -> None:
    """The relay goes on after an event that the broker refused."""

    def passed(relay: Relay, lease: RelayLease, refused: Refused) -> float:
        relay._store.advance(relay._name, lease.token, refused.position, lease.generation)
        relay._let_go()
        return 0.0

    patch.setattr(Relay, "_refused", passed)


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    """The store moves the checkpoint under whatever token."""
    advance = RecordingRelays.advance

    def unfenced(relays: RecordingRelays, name: str, token: int, position: int, generation: int) -> bool:
        now = relays.real.checkpoint(name)
        assert now is not None
        if now.token != token:
            moved = relays.real.advance(name, now.token, position, generation)
            relays._recording.note("advanced", name=name, token=token, position=position, generation=0, moved=moved)
            return moved
        return advance(relays, name, token, position, generation)

    patch.setattr(RecordingRelays, "advance", unfenced)


def _leads_at_any_time(name: str) -> Break:
    """The store gives the lease of this name to whatever owner asks for it."""

    def break_it(patch: pytest.MonkeyPatch) -> None:
        lead = RecordingRelays.lead

        def unguarded(relays: RecordingRelays, asked: str, owner: str, lease_s: float) -> RelayLease | None:
            now = relays.real.checkpoint(asked)
            if asked == name and now is not None and now.owner is not None:
                relays.real.resign(asked, now.owner)
            return lead(relays, asked, owner, lease_s)

        patch.setattr(RecordingRelays, "lead", unguarded)

    return break_it


def _past_a_gap(patch: pytest.MonkeyPatch) -> None:
    """The feed is read past a position whose event becomes visible later."""
    all_events = FaultyRelayStore.all_events

    def hasty(store: FaultyRelayStore, merchant: str | None, *, after: int, limit: int) -> list[StoredEvent]:
        found = all_events(store, merchant, after=after, limit=limit)
        return [event for event in found if event.position % 10 or event is found[-1]]

    patch.setattr(FaultyRelayStore, "all_events", hasty)


def _other_version(patch: pytest.MonkeyPatch) -> None:
    """Messages carry another version than that of their event."""
    all_events = FaultyRelayStore.all_events

    def shifted(store: FaultyRelayStore, merchant: str | None, *, after: int, limit: int) -> list[StoredEvent]:
        found = all_events(store, merchant, after=after, limit=limit)
        return [event._replace(version=event.version + 1) for event in found]

    patch.setattr(FaultyRelayStore, "all_events", shifted)


def _api_processes(patch: pytest.MonkeyPatch) -> None:
    """An api process sends work to providers."""
    patch.setattr(Role, "processes", property(lambda role: role is not Role.RELAY))


BROKEN: Final[list[tuple[Break, str]]] = [
    (_checkpoint_first, "17: the checkpoint moved .* not confirmed"),
    (_one_wave, "17: .* was published .* predecessor is not confirmed"),
    (_skip_refused, "17: the checkpoint moved .* not confirmed"),
    (_no_fence, "17: process .* moved the checkpoint .* under"),
    *((_leads_at_any_time(name), f"leases: .* took the lease .* of {name}") for name in ("events", "work")),
    (_past_a_gap, "17: .* predecessor is not confirmed|17: the checkpoint moved .* not confirmed"),
    (_other_version, "17: .* other contents: sequence"),
    (_api_processes, "roles: the api process 0 leased"),
]


@pytest.mark.parametrize(("break_it", "promise"), BROKEN)
def test_a_broken_part_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, break_it: Break, promise: str
) -> None:
    """A defect in the code leads to a history that the checker rejects, with the sentence for that defect."""
    break_it(monkeypatch)
    for seed in (1, FOUND_BEFORE, *range(2, SEEDS_MAX)):
        folder = tmp_path_factory.mktemp("broken")
        if any(re.match(promise, found) for found in violations(simulate(seed, folder, shape=ROLES_APART))):
            return
    raise AssertionError(f"not found within {SEEDS_MAX} seeds")


def test_batches_that_take_longer_than_the_lease_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two relays that always publish whole batches take the lease from each other without end; the relay does not."""
    monkeypatch.setattr(broker, "CONFIRMS_S", [max(broker.CONFIRMS_S)])
    monkeypatch.setattr(world, "STEPS_MAX", ENOUGH_STEPS)

    def found() -> list[str]:
        history = simulate(SEED_OF_LARGE_BATCHES, tmp_path_factory.mktemp("slow"), shape=ROLES_APART)
        return [each for each in violations(history) if each.startswith("17: ")]

    assert found() == []
    timed = Relay._timed

    def whole(relay: Relay, messages: Sequence[Message]) -> Published:
        try:
            return timed(relay, messages)
        finally:
            relay._limit = relay._batch_max

    monkeypatch.setattr(Relay, "_timed", whole)
    assert any(each.startswith("17: the checkpoint is at") for each in found())

"""Work that comes to the supervisor twice is called for once; work that was claimed anew is other work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from actors.gateways.bulkhead import Bulkhead
from actors.messages import Submit
from domain.outcomes import Approved
from store.port import Action, WorkItem
from tests.actors.bulkheads import Keyless, Supervised, work
from tests.actors.support import GATEWAY


@pytest.fixture
def it() -> Supervised:
    """A supervisor of one gateway with three slots, which honours keys."""
    return Supervised()


def waiting(it: Supervised) -> list[tuple[str, int]]:
    """What waits for a slot, in order."""
    return [(item.work_id, item.token) for item in it.bulkheads[GATEWAY].waiting]


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("when", ["together", "waiting", "out", "done"])
def test_the_same_work_is_called_for_once(it: Supervised, when: str, action: Action, *, claimed: bool) -> None:
    """Whenever it comes again: with the first, while that waits, while it is out, or long after its answer."""
    item = work(action=action)
    if when == "waiting":
        it.submit(*[work() for _ in range(3)])
    it.submit(*[item] * (2 if when == "together" else 1))
    if when == "done":
        it.end_all()
        it.run(60.0)
    it.submit(item, claimed=claimed)
    it.end_all()
    asked = it.gateway.calls + it.gateway.lookups
    assert asked.count(item.work_id) == 1
    assert len(it.results()) == (4 if when == "waiting" else 1)
    assert it.bulkheads[GATEWAY].in_flight == 0


def test_without_keys_it_is_recorded_once() -> None:
    """A second question for the same sending would take a slot for nothing."""
    it = Keyless()
    item = work()
    it.submit(item)
    it.submit(item)
    [request] = it.asked
    it.clear(request)
    it.submit(item)
    it.end_all()
    it.submit(item)
    assert len(it.asked) == 1
    assert it.results() == [Approved(f"A-{item.work_id}", final=True)]
    assert it.slots_taken == 0


def test_work_that_was_claimed_anew_is_called_for(it: Supervised) -> None:
    """Under a newer token it is to be done again, also while the one before is out; an older one is nobody's."""
    item = work()
    it.submit(item)
    for token in (3, 2, 3, 5, 4, 1):
        it.submit(replace(item, token=token))
    assert waiting(it) == []
    assert len(it.out) == 3
    it.end_all()
    assert it.gateway.calls == [item.work_id] * 3
    assert it.bulkheads[GATEWAY].in_flight == 0


def test_others_of_the_same_message_are_taken_on(it: Supervised) -> None:
    """In their order, whatever is left out."""
    items = [work() for _ in range(8)]
    it.submit(items[0], items[4])
    it.submit(*items, claimed=True)
    it.end_all()
    assert it.gateway.calls == [items[number].work_id for number in (0, 4, 1, 2, 3, 5, 6, 7)]


def test_a_message_that_kills_is_taken_on_once(it: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """The successor sees the whole of it again, and only what the dead one had not taken on waits then."""
    items = [work() for _ in range(5)]
    enqueue = Bulkhead.enqueue
    met: list[Bulkhead] = []

    def deadly(bulkhead: Bulkhead, those: Sequence[WorkItem]) -> None:
        met.append(bulkhead)
        enqueue(bulkhead, those[:3] if len(met) == 1 else those)
        if len(met) == 1:
            raise RuntimeError("amid a message")

    monkeypatch.setattr(Bulkhead, "enqueue", deadly)
    it.submit(*items)
    it.run(2.0)
    it.end_all()
    assert (it.address.deaths, len(met)) == (1, 2)
    assert it.gateway.calls == [item.work_id for item in items]


def test_what_is_remembered_is_bounded(it: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of it; and what is forgotten, or was remembered already, is not lost."""
    monkeypatch.setattr("actors.gateways.bulkhead.SEEN_MAX", 10)
    items = [work() for _ in range(200)]
    it.address.tell(Submit(GATEWAY, tuple(items)))
    it.run()
    it.end_all()
    for item in items[-5:]:
        it.submit(replace(item, token=item.token + 1))
    it.end_all()
    assert len(it.bulkheads[GATEWAY].seen) == 10
    assert it.gateway.calls == [item.work_id for item in [*items, *items[-5:]]]

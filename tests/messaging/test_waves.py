"""A batch is published in waves, so that no message passes an earlier one of its partition key."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from messaging.port import Published, Refused
from messaging.waves import Numbered, publish_in_waves, shallow, waves
from store.port import StoredEvent, StreamKey
from tests.messaging.builders import message


def places(divided: Sequence[Sequence[Numbered]]) -> list[list[int]]:
    """The places of the messages in each wave."""
    return [[one.place for one in wave] for wave in divided]


@pytest.mark.parametrize(
    ("customers", "expected"),
    [("", []), ("a", [[0]]), ("abc", [[0, 1, 2]]), ("aaa", [[0], [1], [2]]), ("abacab", [[0, 1, 3], [2, 5], [4]])],
)
def test_a_wave_has_one_message_of_each_customer(customers: str, expected: list[list[int]]) -> None:
    """The first wave has the first ones, in the order of the batch."""
    assert places(waves([message(at, customer) for at, customer in enumerate(customers)])) == expected


@pytest.mark.parametrize(
    ("customers", "waves_max", "expected"),
    [("", 2, 0), ("aa", 2, 2), ("aaa", 2, 2), ("abab", 2, 4), ("ababba", 2, 4), ("abaab", 2, 3), ("aab", 1, 1)],
)
def test_a_batch_of_few_waves(customers: str, waves_max: int, expected: int) -> None:
    """It ends before the first event that would need one more wave, so that nothing is left out."""
    events = [
        StoredEvent(at, StreamKey("main", customer), f"event-{at}", 1, "DepositCompleted", b"", b"")
        for at, customer in enumerate(customers)
    ]
    assert shallow(events, waves_max) == events[:expected]


def test_customers_of_different_merchants_are_different() -> None:
    """The partition key counts."""
    assert places(waves([message(0, "a"), message(1, "a", merchant="other")])) == [[0, 1]]


@pytest.mark.parametrize("seed", range(200))
def test_a_refusal_in_any_place(seed: int) -> None:
    """Everything before the first refused message is confirmed, and nothing of its customer is sent after it."""
    chance = random.Random(seed)
    batch = [message(10 + at, chance.choice("abcd")) for at in range(chance.randint(0, 12))]
    bad = {at for at in range(len(batch)) if chance.random() < 0.2}
    sent: list[int] = []

    def send(wave: Sequence[Numbered]) -> Mapping[int, str]:
        assert wave
        sent.extend(one.place for one in wave)
        return {one.place: f"reason {one.place}" for one in wave if one.place in bad}

    published = publish_in_waves(batch, send)
    first = min(bad, default=len(batch))
    refused = Refused(batch[first].position, f"reason {first}") if bad else None
    assert published == Published(first, refused)
    assert set(range(first)) <= set(sent)
    assert len(sent) == len(set(sent))
    for customer in "abcd":
        ours = [at for at in sent if batch[at].stream.id == customer]
        assert ours == sorted(ours)
        failed = [at for at in ours if at in bad]
        assert failed in ([], ours[-1:]), "nothing follows a refused one"

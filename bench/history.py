"""A past for a database under measurement: completed deposits of many customers, as the service would have stored them.

Events have their canonical bytes and hashes, and the read tables follow from them, so ``manage.py verify`` finds no
problem. The bytes of an event come from a pattern that the store's own encoder makes: encoding each of ten million
would take most of the time. No I/O.
"""

from __future__ import annotations

import random
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from actors.runtime.runtime import uuid7
from bench import wire
from domain.account import Status, Transaction
from domain.events import Completed, Event, Kind, Processed, Received, Recorded
from domain.money import Money
from store.codec import Metadata, chain, encode, timestamp
from store.port import EncodedEvent, Head, StreamKey

MERCHANT: Final = "main"
MONEY: Final = Money(10_000, "USD")
EVENTS_EACH: Final = 3
"""Events of a completed deposit."""

_GATEWAY: Final = "gatewayA"
_SEED: Final = 2
_BETWEEN: Final = timedelta(milliseconds=700)
"""Between two deposits: three million of them take some weeks."""
_TOOK: Final = timedelta(milliseconds=20)
_HASH_BYTES: Final = len(Head().hash)
_FILL_IN: Final = ("@transaction@", "@event@", "@cause@", "@correlation@", "2001-01-01T00:00:00.123456Z", "@stream@")
_VERSION: Final = 987_654_321


class Deposit(NamedTuple):
    """One completed deposit: its stream, its events and its row."""

    stream_id: str
    events: Sequence[EncodedEvent]
    transaction: Transaction


class End(NamedTuple):
    """The end of a stream, and the balance of its customer in minor units."""

    stream_id: str
    version: int
    hash: bytes
    available: int


class History:
    """``deposits`` deposits of customers drawn at random from ``customers``, the last of them before ``until``.

    The customers are those of the bench's requests. The history is read once: first all of its deposits, in the order
    in which they were stored, then the ends of the streams.
    """

    def __init__(self, customers: int, deposits: int, until: datetime) -> None:
        self._customers = wire.customers(customers, wire.SEED)
        self._number, self._began = deposits, until - deposits * _BETWEEN
        self._versions = array("Q", bytes(8 * customers))
        self._hashes = bytearray(_HASH_BYTES * customers)

    def deposits(self) -> Iterator[Deposit]:
        """Every deposit, in order."""
        chance = random.Random(_SEED)
        patterns = [_pattern(event) for event in _EVENTS]
        for number in range(self._number):
            customer = int(chance.random() * len(self._customers))
            yield self._deposit(customer, self._began + number * _BETWEEN, chance.getrandbits, patterns)

    def ends(self) -> Iterator[End]:
        """The end of every stream that has events."""
        for number, (stream_id, version) in enumerate(zip(self._customers, self._versions, strict=True)):
            if version:
                yield End(stream_id, version, self._hash(number), version // EVENTS_EACH * MONEY.minor)

    def _hash(self, customer: int) -> bytes:
        return bytes(self._hashes[customer * _HASH_BYTES : (customer + 1) * _HASH_BYTES])

    def _deposit(
        self, customer: int, at: datetime, bits: Callable[[int], int], patterns: Sequence[_Pattern]
    ) -> Deposit:
        stream_id, version = self._customers[customer], self._versions[customer]
        transaction_id, correlation = uuid7(at, bits(74)), f"{int(at.timestamp() * 1000):012x}{bits(80):020x}"
        hash_, cause, done = self._hash(customer), "", at + _TOOK
        events: list[EncodedEvent] = []
        for pattern in patterns:
            version += 1
            event_id, when = uuid7(done if events else at, bits(74)), timestamp(done if events else at)
            body = pattern.body(transaction_id, event_id, cause, correlation, when, stream_id, version)
            hash_ = chain(hash_, body)
            events.append(EncodedEvent(event_id, version, pattern.type, body, hash_))
            cause = cause or event_id
        self._versions[customer] = version
        self._hashes[customer * _HASH_BYTES : (customer + 1) * _HASH_BYTES] = hash_
        return Deposit(
            stream_id,
            events,
            replace(_completed(transaction_id, stream_id, version, at, done), correlation_id=correlation),
        )


def _completed(transaction_id: str, stream_id: str, version: int, at: datetime, done: datetime) -> Transaction:
    return Transaction(
        transaction_id=transaction_id,
        kind=Kind.DEPOSIT,
        customer_id=stream_id,
        gateway=_GATEWAY,
        money=MONEY,
        details={},
        status=Status.COMPLETED,
        reserved=False,
        submissions=0,
        gateway_reference=f"A-{transaction_id}",
        failure=None,
        version=version,
        created_at=at,
        updated_at=done,
    )


class _Pattern(NamedTuple):
    """The canonical bytes of one type of event with places for what differs from event to event."""

    type: str
    text: str
    places: Sequence[int]

    def body(self, *values: str | int) -> bytes:
        return (self.text % tuple([values[place] for place in self.places])).encode()


_EVENTS: Final[Sequence[Event]] = (
    Received(Kind.DEPOSIT, _FILL_IN[0], _GATEWAY, MONEY, {}),
    Processed(Kind.DEPOSIT, _FILL_IN[0], f"A-{_FILL_IN[0]}"),
    Completed(Kind.DEPOSIT, _FILL_IN[0]),
)


def _pattern(event: Event) -> _Pattern:
    cause = None if isinstance(event, Received) else _FILL_IN[2]
    recorded = Recorded(_VERSION, datetime(2001, 1, 1, 0, 0, 0, 123456, tzinfo=UTC), event)
    stream, metadata = StreamKey(MERCHANT, _FILL_IN[5]), Metadata(_FILL_IN[3], cause)
    encoded = encode(stream, Head(), recorded, _FILL_IN[1], metadata)
    fill_in = [*_FILL_IN, str(_VERSION)]
    parts = re.split(f"({'|'.join(map(re.escape, fill_in))})", encoded.body.decode())
    fixed = [part.replace("%", "%%") for part in parts[::2]]
    return _Pattern(encoded.type, "%s".join(fixed), [fill_in.index(part) for part in parts[1::2]])

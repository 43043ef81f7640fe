"""The bench's own HTTP client: its requests are complete, and it detects the end of each answer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import servers, wire
from bench.load import Load
from bench.provider import Counters, Provider
from domain.cards import holds_card

ANSWER = wire.answer(b"202 Accepted", b'{"transaction_id":"0192-a","status":"pending"}')
SUBMISSION = b"POST /deposits HTTP/1.1\r\nIdempotency-Key: %b\r\nContent-Length: 2\r\n\r\n{}"


def test_deposit() -> None:
    """A prebuilt deposit is one complete request with the customer in its JSON body."""
    request = wire.deposit("127.0.0.1:8080", "c-1")
    assert wire.end_of_message(request) == len(request)
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {
        "amount": 100.0,
        "gateway": "gatewayA",
        "customer_id": "c-1",
    }


def test_no_customer_reads_as_a_card_number() -> None:
    """The service accepts all customer ids of the bench; none reads as a card number."""
    assert [each for each in wire.customers(200_000, 1) if holds_card(each)] == []


def test_end_of_message() -> None:
    """A message ends at its length and is incomplete one byte before; later bytes are not counted."""
    assert [wire.end_of_message(ANSWER[:size]) for size in range(len(ANSWER))] == [0] * len(ANSWER)
    assert wire.end_of_message(ANSWER) == wire.end_of_message(ANSWER + b"HTTP/1.1 2") == len(ANSWER)
    assert wire.end_of_message(ANSWER.replace(b"Content-Length", b"content-length")) == len(ANSWER)
    assert wire.end_of_message(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == 27


def test_fields_of_answers() -> None:
    """Status and transaction id are found with and without white space in the JSON."""
    assert (wire.status_of(ANSWER), wire.transaction_id_of(ANSWER)) == (202, "0192-a")
    assert wire.transaction_id_of(ANSWER.replace(b'id":', b'id": ')) == "0192-a"
    assert wire.transaction_id_of(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") is None


def test_customers() -> None:
    """Customers differ within a run and are the same in every run."""
    assert len(set(wire.customers(1000, 1))) == 1000
    assert wire.customers(10, 1) == wire.customers(10, 1) != wire.customers(10, 2)


@pytest.fixture
def counters(tmp_path: Path) -> Counters:
    """Counters before any process has written to them."""
    return Counters.create(tmp_path / "counters")


def test_provider(counters: Counters) -> None:
    """The provider answers success, counts requests, detects repetitions, and answers lookups correctly."""
    provider = Provider(counters)
    first = provider.reply(SUBMISSION % b"0192-a")
    assert first == wire.answer(b"200 OK", b'{"transaction_id": "A-0192-a", "status": "success"}')
    assert provider.reply(b"GET /deposits/0192-a HTTP/1.1\r\n\r\n") == first
    assert wire.status_of(provider.reply(b"GET /deposits/0192-b HTTP/1.1\r\n\r\n")) == 404
    assert wire.status_of(provider.reply(b"DELETE / HTTP/1.1\r\n\r\n")) == 400
    assert counters.read() == (1, 1)
    provider.reply(SUBMISSION % b"0192-a")
    assert counters.read() == (2, 1)


def test_load_and_provider(tmp_path: Path) -> None:
    """With load and provider as processes, each request gets its answer; any status but 202 counts as failed."""

    def requests() -> Iterator[bytes]:
        return (SUBMISSION % b"%d" % number for number in itertools.count())

    with servers.provider(tmp_path) as provider:
        sample = Load(provider.address, 3, [requests()]).run(0.05)
        answered, different = provider.counters.read()
        bounded = Load(provider.address, 3, [requests()], finished=lambda: 0, unfinished_max=2).run(0.05)
    assert sample.accepted == []
    assert answered == different == sample.failed.total() == sample.failed["200"] > 0
    assert bounded.failed["200"] > 0

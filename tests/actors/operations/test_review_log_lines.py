"""The log line of an opened review: enough for the provider's support, and no body."""

from __future__ import annotations

import logging

import pytest

from actors.listeners import LogListener
from domain.events import Recorded, ReviewOpened
from domain.gateway_report import Expected, GatewayReport, Source
from store.codec import Metadata
from tests.actors.support import stream
from tests.store.builders import START

REPORT = GatewayReport(
    Source.CALLBACK,
    "gatewayA",
    START,
    "evt-7",
    "t-1",
    "A-2",
    "odd",
    None,
    "2.00",
    "EUR",
    None,
    "the body",
    body_bytes=8,
)


def logged(caplog: pytest.LogCaptureFixture, event: ReviewOpened) -> dict[str, object]:
    """The fields of the event's log line."""
    with caplog.at_level(logging.INFO, logger="payments"):
        LogListener().recorded(stream(), [(Recorded(3, START, event), Metadata("r-1"))], {})
    (record,) = caplog.records
    assert (record.message, record.levelname) == ("ReviewOpened", "INFO")
    return record.fields  # type: ignore[attr-defined,no-any-return]


def test_what_was_said_and_expected_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The ids, status and amount of both sides are logged. The body, which may hold personal data, is not."""
    expected = Expected("gatewayA", "processed", "1.00", "USD", "A-1")
    fields = logged(caplog, ReviewOpened("t-1.3", "t-1", "odd", REPORT, expected))
    assert fields == {
        "transaction_id": "t-1",
        "correlation_id": "r-1",
        "stream_name": "main",
        "stream_id": "c1",
        "version": 3,
        "reason": "odd",
        "review_id": "t-1.3",
        "gateway": "gatewayA",
        "source": "callback",
        "callback_event_id": "evt-7",
        "reference": "t-1",
        "gateway_reference": "A-2",
        "said_status": "odd",
        "said_amount": "2.00",
        "said_currency": "EUR",
        "expected_status": "processed",
        "expected_amount": "1.00",
        "expected_currency": "USD",
        "expected_gateway_reference": "A-1",
    }


def test_one_without_either_is_logged_as_before(caplog: pytest.LogCaptureFixture) -> None:
    """Absent members are left out."""
    assert logged(caplog, ReviewOpened("gatewayA.3", None, "odd")).keys() == {
        *("transaction_id", "correlation_id", "stream_name", "stream_id", "version", "reason", "review_id"),
    }

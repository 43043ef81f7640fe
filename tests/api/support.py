"""A payment system in memory behind the API's two doors, and a client that holds every answer against OpenAPI.

The rules are the real ones (``domain``, ``store.codec``); only durability and gateways are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import falcon.testing
from openapi_schema_validator import OAS30Validator

from actors.replies import Accepted, BreakerStatus, BulkheadStatus, GatewayStatus, Reply
from api.app import create_app
from domain.account import Account, Refused, Transaction, decide, evolve
from domain.commands import Command, Receive, RecordOutcome
from domain.events import Recorded
from domain.outcomes import Approved, Declined, Unknown
from store.codec import Metadata, encode
from store.errors import StoreUnavailableError
from store.port import Head, StoredEvent, StreamKey
from store.queries import CustomerView, TransactionFilter, TransactionView

START = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
BODY: dict[str, object] = {"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}
CURRENCIES = {
    "gatewayA": frozenset({"USD", "EUR", "GBP", "JPY", "KWD"}),
    "gatewayB": frozenset({"USD", "EUR"}),
}


class World:
    """``Payments`` and ``Queries`` at once; ``calls`` is what reached the actors."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.calls: list[tuple[StreamKey, Receive, Metadata]] = []
        self.reply: Reply | Exception | None = None
        self.not_ready: list[str] = []
        self.down = False
        self.deaf = False
        self.attention: dict[str, str] = {}
        self._accounts: dict[StreamKey, Account] = {}
        self._events: dict[StreamKey, list[StoredEvent]] = {}
        self._ids = count(1)
        self._seconds = count()
        self._positions = count(1)

    # The door to the actors.

    def new_transaction_id(self) -> str:
        """Ids in ascending order."""
        return f"019ab000-0000-7000-8000-{next(self._ids):012x}"

    def receive(self, stream: StreamKey, command: Receive, metadata: Metadata) -> Reply:
        """Carry the command out, unless ``reply`` says what to answer instead."""
        self.calls.append((stream, command, metadata))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply or self._apply(stream, command, command.transaction_id, metadata)

    def gateways(self) -> Sequence[GatewayStatus]:
        """Both gateways, the second with an open breaker."""
        if self.deaf:
            raise TimeoutError
        closed = BreakerStatus("closed", "auto", 0, 3, None, None)
        opened = BreakerStatus("open", "auto", 60, 5, START, START + timedelta(seconds=10))
        return [
            GatewayStatus(name, adapter, tuple(sorted(CURRENCIES[name])), breaker, BulkheadStatus(1, 2, 20))
            for name, adapter, breaker in (("gatewayA", "gateway_a", closed), ("gatewayB", "gateway_b", opened))
        ]

    def gateway_currencies(self) -> dict[str, frozenset[str]]:
        """Both gateways."""
        return CURRENCIES

    def problems(self) -> Sequence[str]:
        """What the test says."""
        return self.not_ready

    def settle(self, customer_id: str, transaction_id: str, outcome: Approved | Declined | Unknown) -> None:
        """What a gateway's answer would lead to."""
        command = RecordOutcome(transaction_id, outcome)
        assert isinstance(self._apply(StreamKey("main", customer_id), command, transaction_id, Metadata("c")), Accepted)

    def _apply(self, stream: StreamKey, command: Command, transaction_id: str, metadata: Metadata) -> Reply:
        account = self._accounts.get(stream, Account(stream.id))
        events = decide(account, command)
        if isinstance(events, Refused):
            return events
        stored = self._events.setdefault(stream, [])
        for event in events:
            recorded = Recorded(account.version + 1, START + timedelta(seconds=next(self._seconds)), event)
            head = Head(account.version, stored[-1].hash) if stored else Head()
            encoded = encode(stream, head, recorded, f"e{next(self._positions)}", metadata)
            stored.append(StoredEvent(int(encoded.event_id[1:]), stream, *encoded))
            account = evolve(account, recorded)
        self._accounts[stream] = account
        return Accepted(account.transactions[transaction_id])

    # The door to the store.

    def transaction(self, merchant: str, transaction_id: str) -> TransactionView | None:
        """By id, within the merchant."""
        return next((it for it in self._all(merchant) if it.transaction.transaction_id == transaction_id), None)

    def transactions(
        self, merchant: str, where: TransactionFilter, *, before: str | None, limit: int
    ) -> Sequence[TransactionView]:
        """Newest first."""

        def fits(it: Transaction) -> bool:
            return (
                where.customer_id in (None, it.customer_id)
                and where.status in (None, it.status)
                and where.gateway in (None, it.gateway)
                and where.kind in (None, it.kind)
                and (where.created_from is None or it.created_at >= where.created_from)
                and (where.created_to is None or it.created_at < where.created_to)
                and (before is None or it.transaction_id < before)
            )

        views = sorted(self._all(merchant), key=lambda it: it.transaction.transaction_id, reverse=True)
        return [it for it in views if fits(it.transaction)][:limit]

    def customer(self, stream: StreamKey) -> CustomerView | None:
        """The account's version and balances."""
        self._reach()
        account = self._accounts.get(stream)
        return None if account is None else CustomerView(account.version, sorted(account.balances.items()))

    def stream_events(self, stream: StreamKey, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """Ascending versions."""
        self._reach()
        return self._events.get(stream, [])[after : after + limit]

    def work_counts(self) -> dict[tuple[str, str], int]:
        """Nobody asks here."""
        return {}

    def ping(self) -> None:
        """Nobody asks here."""

    def _all(self, merchant: str) -> list[TransactionView]:
        self._reach()
        return [
            TransactionView(it, self.attention.get(it.transaction_id))
            for stream, account in self._accounts.items()
            if stream.name == merchant
            for it in account.transactions.values()
        ]

    def _reach(self) -> None:
        if self.down:
            raise StoreUnavailableError("the disk is gone")

    def change(self, transaction_id: str, customer_id: str, **changes: Any) -> None:
        """Change what is known of a transaction, for what the domain cannot do yet."""
        stream = StreamKey("main", customer_id)
        account = self._accounts[stream]
        changed = replace(account.transactions[transaction_id], **changes)
        self._accounts[stream] = replace(account, transactions={**account.transactions, transaction_id: changed})


class Api:
    """A client of the application under test; every answer must be one that the OpenAPI document announces."""

    def __init__(self, world: World, *, new_request_id: Callable[[], str] | None = None) -> None:
        self._generated = count(1)
        self.app = create_app(world, world, default_currency="USD", new_request_id=new_request_id or self._new_id)
        self._client = falcon.testing.TestClient(self.app)
        self.document: dict[str, Any] = self._client.simulate_get("/openapi.json").json
        self._templates = [
            (re.compile(re.sub(r"\\\{[a-z_]+\\\}", "[^/]*", re.escape(path))), item)
            for path, item in self.document["paths"].items()
        ]

    def reset(self) -> None:
        """Number request ids from 1 again."""
        self._generated = count(1)

    def _new_id(self) -> str:
        return f"generated-{next(self._generated)}"

    def request(self, method: str, path: str, **kwargs: Any) -> falcon.testing.Result:
        """Send a request and hold the answer against the document."""
        result: falcon.testing.Result = self._client.simulate_request(method, path, **kwargs)
        assert result.headers["X-Request-ID"], "every answer has a request id"
        if result.status_code >= 400:
            assert_problem(result)
        item = next((item for template, item in self._templates if template.fullmatch(path)), None)
        if item is not None and method.lower() in item:
            self._conforms(item[method.lower()], result)
        return result

    def get(self, path: str, **kwargs: Any) -> falcon.testing.Result:
        """GET."""
        return self.request("GET", path, **kwargs)

    def deposit(self, **changes: object) -> falcon.testing.Result:
        """POST the usual deposit with some members changed; those set to ``...`` are left out."""
        members = {name: value for name, value in {**BODY, **changes}.items() if value is not ...}
        return self.post(json.dumps(members))

    def post(
        self, body: str | bytes, content_type: str | None = "application/json", **kwargs: Any
    ) -> falcon.testing.Result:
        """POST ``body`` as it is to the deposits."""
        headers = {**({} if content_type is None else {"Content-Type": content_type}), **kwargs.pop("headers", {})}
        return self.request("POST", "/v1/deposit", body=body, headers=headers, **kwargs)

    def _conforms(self, operation: dict[str, Any], result: falcon.testing.Result) -> None:
        response = operation["responses"].get(str(result.status_code))
        assert response is not None, f"{operation['operationId']} does not announce {result.status_code}"
        for header in response["headers"]:
            assert header in result.headers, f"{header} is announced"
        media_type = result.headers["Content-Type"].partition(";")[0]
        schema = response["content"][media_type]["schema"]
        if media_type.endswith("json"):
            # With the components beside it, a schema's "#/components/..." references resolve.
            OAS30Validator({**schema, "components": self.document["components"]}).validate(result.json)


def assert_problem(result: falcon.testing.Result) -> None:
    """Whatever fails must fail as a problem document."""
    assert result.headers["Content-Type"] == "application/problem+json"
    assert result.json["status"] == result.status_code
    assert re.fullmatch("/problems/[a-z0-9-]+", result.json["type"])
    assert result.json["title"]
    assert result.json["detail"]

"""A client of the application under test that checks every answer against the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import count
from typing import Any, Final, Protocol

import falcon.testing
from openapi_schema_validator import OAS30Validator

from actors.payments import Payments
from api.app import create_app
from api.resources.event_documents import EventDocuments
from messaging import asyncapi, schemas
from store.queries import Queries

PUBLIC_URL: Final = "https://payments.example.com"
DOCUMENTS: Final = EventDocuments(schemas.documents(PUBLIC_URL), asyncapi.document(PUBLIC_URL))
BODY: dict[str, object] = {"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}


class Interfaces(Protocol):
    """The collaborators of the API."""

    @property
    def payments(self) -> Payments:
        """The interface to the actors."""

    @property
    def queries(self) -> Queries:
        """The interface to the store."""


class Api:
    """A client of the application under test. It fails when the OpenAPI document does not describe an answer."""

    def __init__(
        self,
        interfaces: Interfaces,
        *,
        new_request_id: Callable[[], str] | None = None,
        checked_withdrawals: bool = True,
        needs_keys: bool = False,
    ) -> None:
        self.key: str | None = None
        """The API key that every request sends."""
        self._generated = count(1)
        self.app = create_app(
            interfaces.payments,
            interfaces.queries,
            default_currency="USD",
            checked_withdrawals=checked_withdrawals,
            needs_keys=needs_keys,
            event_documents=DOCUMENTS,
            new_request_id=new_request_id or self._new_id,
        )
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
        """Send a request and check the answer against the document."""
        if self.key is not None:
            kwargs["headers"] = {"Authorization": f"Bearer {self.key}", **(kwargs.get("headers") or {})}
        result: falcon.testing.Result = self._client.simulate_request(method, path, **kwargs)
        assert result.headers["X-Request-ID"], "every answer has a request id"
        if result.status_code >= 400 and method != "HEAD":
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

    def withdraw(self, *, key: str | None = None, **changes: object) -> falcon.testing.Result:
        """POST the usual command to the withdrawals, with some members changed."""
        return self.command("/v1/withdrawal", key=key, **changes)

    def command(self, path: str, *, key: str | None = None, **changes: object) -> falcon.testing.Result:
        """POST the usual command to ``path`` under an idempotency key, with some members changed."""
        extras = {} if key is None else {"HTTP_IDEMPOTENCY_KEY": key}
        return self.post(json.dumps({**BODY, **changes}), path=path, extras=extras)

    def post(
        self,
        body: str | bytes,
        content_type: str | None = "application/json",
        *,
        path: str = "/v1/deposit",
        **kwargs: Any,
    ) -> falcon.testing.Result:
        """POST ``body`` unchanged, by default as a deposit."""
        headers = {**({} if content_type is None else {"Content-Type": content_type}), **kwargs.pop("headers", {})}
        return self.request("POST", path, body=body, headers=headers, **kwargs)

    def order(self, path: str, order: object, *, key: str | None = None) -> falcon.testing.Result:
        """POST ``order`` as JSON under an idempotency key; an ellipsis means no body."""
        headers = {} if key is None else {"Idempotency-Key": key}
        if order is ...:
            return self.request("POST", path, headers=headers)
        headers["Content-Type"] = "application/json"
        return self.request("POST", path, body=json.dumps(order), headers=headers)

    def _conforms(self, operation: dict[str, Any], result: falcon.testing.Result) -> None:
        response = operation["responses"].get(str(result.status_code))
        assert response is not None, f"{operation['operationId']} does not announce {result.status_code}"
        for header, announced in response["headers"].items():
            assert header in result.headers or not announced.get("required", True), f"{header} is announced"
        media_type = result.headers["Content-Type"].partition(";")[0]
        schema = response["content"][media_type]["schema"]
        if media_type.endswith("json"):
            # With the components beside it, a schema's "#/components/..." references resolve.
            OAS30Validator({**schema, "components": self.document["components"]}).validate(result.json)


def assert_problem(result: falcon.testing.Result) -> None:
    """Every failure must be a problem document."""
    assert result.headers["Content-Type"] == "application/problem+json"
    assert result.json["status"] == result.status_code
    assert re.fullmatch("/problems/[a-z0-9-]+", result.json["type"])
    assert result.json["title"]
    assert result.json["detail"]

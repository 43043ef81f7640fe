"""Requests from the OpenAPI document, each with a canary in one field; this also covers new fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final
from urllib.parse import quote, urlencode

from tests.processes.canaries import API_KEY, CVV, WEBHOOK_SECRET, new_card, spellings

OTHER_HEADERS: Final = ("User-Agent", "Cookie", "Referer", "X-Forwarded-For", "webhook-id", "webhook-signature")
"""Headers that no route documents."""


@dataclass(frozen=True)
class CanaryRequest:
    """A request. ``refused``: it has a canary in a field that would be stored, so it must be refused."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: bool = True


def requests(document: Mapping[str, Any], ids: Mapping[str, str]) -> Iterator[CanaryRequest]:
    """Every route with a card number, and an API key, in each field of its path, query, body and headers.

    ``ids`` fill the paths.
    """
    spelled = cycle(range(7))
    for template, item in document["paths"].items():
        path = template.format_map(ids)
        for name in (parameter["name"] for parameter in item.get("parameters", ())):
            yield CanaryRequest("GET", template.format_map({**ids, name: quote(_card(next(spelled)))}))
            yield CanaryRequest("GET", template.format_map({**ids, name: API_KEY}))
        for method, operation in item.items():
            if method in {"get", "post"}:
                members = _example(document, operation)
                for parameter in operation.get("parameters", ()):
                    yield from _of_parameter(method.upper(), path, parameter, members, next(spelled))
                yield from _of_others(method.upper(), path, members)
                if members is not None:
                    yield from _of_body(document, operation, path, members)


def _card(spelling: int) -> str:
    return spellings(new_card())[spelling]


def _json(members: object) -> bytes | None:
    return None if members is None else json.dumps(members).encode()


def _example(document: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any] | None:
    if "requestBody" not in operation:
        return None
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    first: dict[str, Any] = next(iter(examples.values()))["value"]
    return first


def _of_parameter(
    method: str, path: str, parameter: Mapping[str, Any], members: object, spelling: int
) -> Iterator[CanaryRequest]:
    name: str = parameter["name"]
    if parameter["in"] == "query":
        yield CanaryRequest(method, f"{path}?{urlencode({name: _card(spelling)})}")
        yield CanaryRequest(method, f"{path}?{urlencode({_card(spelling): 'x'})}")
        yield CanaryRequest(method, f"{path}?{urlencode({name: API_KEY})}")
    elif name == "traceparent":
        for trace in (
            f"00-{'0' * 16}{new_card()}-00f067aa0ba902b7-01",
            f"00-{'a' * 32}-{new_card()}-01",
            f"01-{'a' * 32}-00f067aa0ba902b7-01-{API_KEY}",
        ):
            yield CanaryRequest(method, path, _json(members), {name: trace}, refused=False)
    else:
        for text in (_card(spelling % 4), API_KEY, WEBHOOK_SECRET):
            yield CanaryRequest(method, path, _json(members), {name: text}, refused=name == "Idempotency-Key")


def _of_others(method: str, path: str, members: object) -> Iterator[CanaryRequest]:
    for name in OTHER_HEADERS:
        yield CanaryRequest(method, path, _json(members), {name: _card(0)}, refused=False)
    yield CanaryRequest(method, path, _json(members), {"Authorization": f"Bearer {API_KEY}"}, refused=False)


def _of_body(
    document: Mapping[str, Any], operation: Mapping[str, Any], path: str, members: Mapping[str, Any]
) -> Iterator[CanaryRequest]:
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    names = [*schema["properties"], "unknown"]
    for name, spelling in zip(names, cycle(range(7))):
        text = _card(spelling)
        number = int(new_card())
        nested = [{"deep": [{text: number}]}]
        secrets = (API_KEY, f"see {WEBHOOK_SECRET}", {"order": API_KEY}, {API_KEY: "7"})
        for value in (text, number, float(number), {"order": text}, {text: "7"}, {"cvv": CVV}, nested, *secrets):
            yield CanaryRequest("POST", path, _json({**members, name: value}))
    card = new_card()
    yield CanaryRequest("POST", path, _json({**members, card: "x"}))
    yield CanaryRequest("POST", path, f'{{"{card}": 1, "{card}": 2}}'.encode())
    escaped = "".join(f"\\u003{digit}" for digit in card)
    yield CanaryRequest("POST", path, f'{{"unknown": "{escaped}"}}'.encode())
    yield CanaryRequest("POST", path, f'{{"cut": {card}'.encode())
    yield CanaryRequest("POST", path, card.encode())

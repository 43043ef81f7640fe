"""Promise 2: repetitions under the same idempotency key are one command, at any process."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.simulation.folding import Fold
from tests.simulation.history import History

Entry = Mapping[str, Any]
SHORT: Final = "insufficient-funds"
REUSED: Final = "idempotency-key-reused"
WANTED: Final = ("kind", "gateway", "customer", "amount", "currency", "parent")
KEPT: Final = frozenset({SHORT, "amount-too-large", "not-supported"})
"""The codes of refusals that are recorded under a key. One that time may lift is not."""


def key_violations(history: History, fold: Fold) -> Iterator[str]:
    """A key has one command or one refusal; equal requests get its answer, and different ones get a conflict."""
    sent: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
    for entry in [*history.of("sent"), *history.of("adjusting")]:
        if entry.get("key") is not None:
            sent[entry.get("kind", "adjustment"), entry["key"]][entry["id"]] = entry
    adjusted = [entry for entry in history.of("ordered") if entry["order"] == "adjusting"]
    answers = {entry["id"]: entry for entry in [*history.of("answer"), *adjusted]}
    claims = _claims(history)
    recorded = {*fold.transactions, *fold.adjustments}
    for (kind, key), requests in sent.items():
        known = [each for each in requests if each in recorded]
        if len(known) > 1:
            yield f"2: {key} became {len(known)} commands: {known}"
        for each, request in requests.items():
            if each in answers:
                yield from _answered(key, request, answers[each], known, requests)
        told = [answers.get(each, {}) for each in requests]
        yield from _claimed(key, claims.pop((kind, key), None), known, told)
    for _, key in sorted(claims):
        yield f"14: {key} is held, and no client ever sent it"


def _claims(history: History) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The claim of each key at rest, by kind and key."""
    return {
        (scope.split(":")[1], key): json.loads(value)
        for entry in history.of("claims")
        for scope, key, value in entry["claims"]
        if scope.startswith("idempotency:")
    }


def _claimed(key: str, claim: Entry | None, known: list[str], told: list[Entry]) -> Iterator[str]:
    """The claim of a key names exactly its transaction or its refusal."""
    refused = any(answer.get("answer") == "refused" and answer.get("code") in KEPT for answer in told)
    if refused and known:
        yield f"2: {key} was refused, and then became {known}"
    if claim is None:
        if known or refused:
            yield f"2: {key} became {known or 'a refusal'}, and is not held"
        return
    if "refused" not in claim and claim["transaction_id"] not in known:
        yield f"2: {key} is held by {claim['transaction_id']}, and {known} is on record"
    if "refused" in claim and known:
        yield f"2: {key} is held by a refusal, and {known} is on record"
    if told and all(answer.get("answer") == "not-stored" for answer in told):
        yield f"14: {key} is held, and every client got the answer that nothing was stored"


def _answered(
    key: str, request: Entry, answer: Entry, known: list[str], requests: Mapping[str, Entry]
) -> Iterator[str]:
    of, code = answer.get("of"), answer.get("code") or ""
    if answer["answer"] == "replayed":
        if of not in known:
            yield f"2: {request['id']} under {key} was answered with {of}, and {known} is on record"
        elif _wanted(requests[of]) != _wanted(request):
            yield f"2: {request['id']} under {key} was answered with {of}, which was another command"
    if code.endswith(" again") and known:
        yield f"2: {request['id']} under {key} was answered with a refusal, and {known} is on record"
    if code == REUSED and all(_wanted(other) == _wanted(request) for other in requests.values()):
        yield f"2: {request['id']} got the answer that {key} was used for another request, which no client sent"


def _wanted(request: Entry) -> tuple[Any, ...]:
    return tuple(request.get(name) for name in WANTED)

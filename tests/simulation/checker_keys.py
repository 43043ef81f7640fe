"""Promise 2: what clients repeat under the same idempotency key is one command, at whichever process they do so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.simulation.folding import Fold
from tests.simulation.history import History

Entry = Mapping[str, Any]
REUSED: Final = "idempotency-key-reused"
WANTED: Final = ("kind", "gateway", "customer", "amount", "currency")


def key_violations(history: History, fold: Fold) -> Iterator[str]:
    """One transaction for a key, or one refusal; everybody is told of that one, and only who wanted the same."""
    sent: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
    for entry in history.of("sent"):
        if entry.get("key") is not None:
            sent[entry["kind"], entry["key"]][entry["id"]] = entry
    answers = {entry["id"]: entry for entry in history.of("answer")}
    for (_, key), requests in sent.items():
        recorded = [fold.transactions[each] for each in requests if each in fold.transactions]
        known = [each for each in requests if each in fold.transactions]
        if len(recorded) > 1:
            yield f"2: {key} became {len(recorded)} transactions: {known}"
        for each, request in requests.items():
            if each in answers:
                yield from _answered(key, request, answers[each], known, requests)


def _answered(
    key: str, request: Entry, answer: Entry, known: list[str], requests: Mapping[str, Entry]
) -> Iterator[str]:
    of, code = answer.get("of"), answer.get("code") or ""
    if answer["answer"] == "replayed":
        if of not in known:
            yield f"2: {request['id']} under {key} was told of {of}, and {known} is on record"
        elif _wanted(requests[of]) != _wanted(request):
            yield f"2: {request['id']} under {key} was told of {of}, which wanted something else"
    if code.endswith(" again") and known:
        yield f"2: {request['id']} under {key} was told of a refusal, and {known} is on record"
    if code == REUSED and all(_wanted(other) == _wanted(request) for other in requests.values()):
        yield f"2: {request['id']} was told that {key} was used for something else, which nobody wanted"


def _wanted(request: Entry) -> tuple[Any, ...]:
    return tuple(request[name] for name in WANTED)

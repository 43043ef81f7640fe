"""Mutations of callbacks and of held idempotency keys: see ``mutations``."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.simulation.checker_keys import SHORT
from tests.simulation.folding import is_callback
from tests.simulation.history import History

Entry = dict[str, Any]
Falsify = Callable[[History], None]


def has_callbacks(history: History) -> bool:
    """Whether callbacks were applied, reviewed and forged, and keys were held by both a command and a refusal."""
    caused = {body["type"] for _, body in bodies(history) if is_callback(_cause(body))}
    forged = any(entry["forged"] for entry in history.of("callback"))
    refused = any(each.get("code") == SHORT and each["answer"] == "refused" for each in history.of("answer"))
    return (
        {"DepositCompleted", "ReviewOpened"} <= caused
        and any(True for _ in _completions(history))
        and forged
        and any(each["answer"] == "unverified" for each in history.of("told"))
        and _reviewed(history) is not None
        and refused
        and any(scope.startswith("idempotency:") for scope, _, _ in _claims(history))
        and any(not _is_left_to_calls(part) for part in _parts(history))
    )


def bodies(history: History) -> Iterator[tuple[Entry, Entry]]:
    """The events at rest, each as in the dump and with its parsed body."""
    for dump in history.entries:
        if dump["what"] == "dump" and dump["when"] == "rest":
            for event in dump["events"]:
                yield event, json.loads(event["body"])


def _cause(body: Entry) -> str | None:
    cause: str | None = body["metadata"].get("causation_id")
    return cause


def _claims(history: History) -> list[list[str]]:
    claims: list[list[str]] = history.of("claims")[-1]["claims"]
    return claims


def _parts(history: History) -> Iterator[Entry]:
    for write in history.of("write"):
        yield from write["parts"]


def _is_left_to_calls(part: Entry) -> bool:
    """Whether no callback ended a transaction in this part."""
    names = [event[1] for event, (cause, _) in zip(part["events"], part["causes"], strict=True) if is_callback(cause)]
    return not any(name.endswith(("Completed", "Failed")) for name in names)


def first(found: Iterator[Any]) -> Any:
    """The first item. There is one, because ``has_callbacks`` holds."""
    return next(found)


def _callback(history: History, cause: str) -> list[Entry]:
    gateway, _, event = cause.partition(":")
    return [
        entry
        for entry in history.entries
        if entry["what"] == "callback" and (entry["gateway"], entry["event"]) == (gateway, event)
    ]


def _completions(history: History) -> Iterator[tuple[Entry, Entry]]:
    """Deposits that a callback completed which came with only one body."""
    for event, body in bodies(history):
        cause = _cause(body)
        if body["type"] != "DepositCompleted" or cause is None or not is_callback(cause):
            continue
        if len({entry["body"] for entry in _callback(history, cause) if not entry["forged"]}) == 1:
            yield event, body


def _completed(history: History) -> tuple[Entry, Entry]:
    found: tuple[Entry, Entry] = first(_completions(history))
    return found


def _reviewed(history: History) -> tuple[Entry, Entry] | None:
    """A review of a callback that was accepted with only one body."""
    taken = {f"{told['gateway']}:{told['event']}" for told in history.of("told") if told["answer"] == "taken"}
    for event, body in bodies(history):
        cause = _cause(body)
        if body["type"] != "ReviewOpened" or cause not in taken:
            continue
        if len({entry["body"] for entry in _callback(history, cause)}) == 1:
            return event, body
    return None


def append(history: History, body: Entry) -> None:
    """Add an event at rest to the stream of ``body``."""
    for dump in history.entries:
        if dump["what"] == "dump" and dump["when"] == "rest" and dump["stream"][1] == body["stream_id"]:
            dump["events"].append({**dump["events"][-1], "body": json.dumps(body)})


def replace(event: Entry, body: Entry) -> None:
    """Replace the content of ``event``."""
    event["body"] = json.dumps(body)


# callbacks


def _forged_and_taken(history: History) -> None:
    first(entry for entry in history.entries if entry.get("answer") == "unverified")["answer"] = "taken"


def _genuine_and_refused(history: History) -> None:
    first(entry for entry in history.entries if entry.get("answer") == "taken")["answer"] = "unverified"


def _of_an_unknown_callback(history: History) -> None:
    _, body = _completed(history)
    for entry in _callback(history, _cause(body) or ""):
        entry["event"] = "another"


def _other_than_was_said(history: History) -> None:
    _, body = _completed(history)
    for entry in _callback(history, _cause(body) or ""):
        entry["body"] = entry["body"].replace('"completed"', '"failed"')


def _of_other_money(history: History) -> None:
    _, body = _completed(history)
    for entry in _callback(history, _cause(body) or ""):
        entry["body"] = entry["body"].replace('"amount":"', '"amount":"7')


def _applied_twice(history: History) -> None:
    write, part = first(
        (write, part) for write in history.of("write") for part in write["parts"] if not _is_left_to_calls(part)
    )
    again = copy.deepcopy(part)
    for event in again["events"]:
        event[0] = f"again-{event[0]}"
    history.entries.append({**write, "parts": [again]})


def _reviewed_twice(history: History) -> None:
    found = _reviewed(history)
    assert found is not None
    body = found[1]
    append(history, {**body, "data": {**body["data"], "review_id": "another"}})


def _reviewed_for_nothing(history: History) -> None:
    _, body = _completed(history)
    data = {"review_id": "r", "transaction_id": body["data"]["transaction_id"], "reason": "none"}
    append(history, {**body, "type": "ReviewOpened", "data": data})


def _answered_and_not_applied(history: History) -> None:
    found = _reviewed(history)
    assert found is not None
    event, body = found
    replace(event, {**body, "metadata": {"correlation_id": "another"}})


def _stored_otherwise(history: History) -> None:
    first(claim for claim in _claims(history) if claim[0].startswith("callback:"))[2] = "another"


def _taken_and_not_stored(history: History) -> None:
    claims = _claims(history)
    claims[:] = [claim for claim in claims if not claim[0].startswith("callback:")]


def _never_matched(history: History) -> None:
    history.entries.append({"what": "work", "at": 0.0, "rows": {"callback:x": [1, "queued", None]}})


def _unfenced(history: History) -> None:
    part = first(part for part in _parts(history) if not _is_left_to_calls(part) and part["fence"] is None)
    part["work"] = []


# keys


def _refused_and_accepted(history: History) -> None:
    accepted = {answer["id"] for answer in history.of("answer") if answer["answer"] == "accepted"}
    sent: Entry = first(entry for entry in history.entries if entry["what"] == "sent" and entry["id"] in accepted)
    refused: Entry = first(entry for entry in history.entries if entry.get("code") == SHORT and "of" in entry)
    again: Entry = first(each for each in history.entries if each["what"] == "sent" and each["id"] == refused["id"])
    sent["key"] = again["key"] = "another"
    sent["kind"] = again["kind"]


def _claim_removed(history: History) -> None:
    claims = _claims(history)
    claims[:] = [claim for claim in claims if not claim[0].startswith("idempotency:")]


def _held_for_another(history: History) -> None:
    for claim in _claims(history):
        if claim[0].startswith("idempotency:"):
            claim[2] = json.dumps({"fingerprint": "", "transaction_id": "another"})


def _held_without_a_request(history: History) -> None:
    _claims(history).append(["idempotency:deposit:main", "another", "{}"])


CALLBACKS: Final[list[tuple[Falsify, str]]] = [
    (_refused_and_accepted, "2: .* was refused, and then became"),
    (_claim_removed, "2: .* is not held"),
    (_held_for_another, "2: .* is held by another"),
    (_held_without_a_request, "14: .* no client ever sent"),
    (_applied_twice, "8: .* 2 times"),
    (_reviewed_twice, "8: .* has 2 reviews"),
    (_forged_and_taken, "9: .* forged: True, was answered taken"),
    (_genuine_and_refused, "9: .* forged: False, was answered unverified"),
    (_of_an_unknown_callback, "9: .* has the cause"),
    (_other_than_was_said, "9: .* has the cause"),
    (_of_other_money, "9: .* has the cause"),
    (_answered_and_not_applied, "9: .* neither applied nor under review"),
    (_stored_otherwise, "9: .* is stored as"),
    (_taken_and_not_stored, "9: .* got a 200, and is not stored"),
    (_reviewed_for_nothing, "10: .* agrees with the record"),
    (_never_matched, "10: .* neither applied nor reviewed"),
    (_unfenced, "12: .* without a token"),
]
"""Mutations of histories for which ``has_callbacks`` holds."""

"""Promises 8 and 9, and unnecessary reviews (10): callbacks of providers, and their effects."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.simulation.folding import GONE, Fold, Review, Seen, is_callback, kind_and_what
from tests.simulation.history import History

Entry = Mapping[str, Any]
ENDS: Final = {
    "Completed": {"completed"},
    "Failed": {"failed", "cancelled", "expired"},
    "Authorized": {"authorized"},
}
"""What a callback must say to cause the event."""
FROM_CHILDREN: Final = ("DepositCompleted", "DepositVoided", "DepositFailed")


def callback_violations(history: History, fold: Fold) -> Iterator[str]:
    """Each genuine callback is applied once or reviewed, and a forged one changes nothing."""
    letters = _Letters(history)
    yield from _answers(history)
    yield from _causes(history, fold)
    yield from _claims(history, letters)
    reviews: dict[str, list[Review]] = defaultdict(list)
    for asked in fold.reviews.values():
        if is_callback(asked.cause):
            reviews[asked.cause or ""].append(asked)
    for cause in sorted({*letters.taken, *reviews}):
        bodies = letters.bodies.get(cause, [])
        if len(reviews[cause]) > min(len(bodies), 2):
            yield f"8: {cause} came with {len(bodies)} bodies and has {len(reviews[cause])} reviews"
        if bodies:
            yield from _judged(cause, letters, reviews[cause], fold)


class _Letters:
    """The contents of verified callbacks by their cause (gateway and event id)."""

    def __init__(self, history: History) -> None:
        self.bodies: dict[str, list[str]] = defaultdict(list)
        """The distinct bodies in the order of their arrival."""
        self.taken: dict[str, list[str]] = defaultdict(list)
        """The bodies that got a 200."""
        self.held: dict[str, str] = {}
        """The body that is on record."""
        sent: dict[int, Entry] = {}
        for entry in history.of("callback"):
            sent[entry["number"]] = entry
            if not entry["forged"] and entry["body"] not in self.bodies[_cause(entry)]:
                self.bodies[_cause(entry)].append(entry["body"])
        self.left_to_children: set[str] = set()
        """Causes that reached a parent while its capture or void was under way, whose outcome decides."""
        ending = _Endings(history)
        for entry in history.of("told"):
            letter = sent[entry["number"]]
            if ending.may_decide(letter["body"], letter["at"], entry["at"]):
                self.left_to_children.add(_cause(entry))
            if entry["answer"] == "taken" and letter["body"] not in self.taken[_cause(entry)]:
                self.taken[_cause(entry)].append(letter["body"])
        for entry in history.of("claims"):
            for scope, key, value in entry["claims"]:
                if scope.startswith("callback:"):
                    self.held[f"{scope.removeprefix('callback:')}:{key}"] = value


class _Endings:
    """The times during which a capture or void of an authorization was under way."""

    def __init__(self, history: History) -> None:
        self._parents: dict[str, str] = {}
        self._times: dict[str, list[list[float]]] = defaultdict(list)
        for write in history.of("write"):
            for _, name, data in (event for part in write["parts"] for event in part["events"]):
                if name in {"CaptureReceived", "VoidReceived"}:
                    self._parents[data["transaction_id"]] = data["parent_id"]
                    self._times[data["parent_id"]].append([write["at"], float("inf")])
                elif name in {"CaptureCompleted", "CaptureFailed", "VoidCompleted", "VoidFailed"}:
                    self._times[self._parents[data["transaction_id"]]][-1][1] = write["at"]

    def may_decide(self, body: str, sent_at: float, told_at: float) -> bool:
        """Whether one was under way while this callback was handled."""
        said = _read(body)
        times = [] if said is None else self._times.get(said["reference"], [])
        return any(begin <= told_at and sent_at <= end for begin, end in times)


def _cause(entry: Entry) -> str:
    return f"{entry['gateway']}:{entry['event']}"


def _answers(history: History) -> Iterator[str]:
    forged = {entry["number"]: entry["forged"] for entry in history.of("callback")}
    for entry in history.of("told"):
        if entry["answer"] == "not-stored":
            continue  # also of a process that starts, which cannot verify yet
        if forged[entry["number"]] != (entry["answer"] == "unverified"):
            yield f"9: {_cause(entry)}, forged: {forged[entry['number']]}, was answered {entry['answer']}"


def _causes(history: History, fold: Fold) -> Iterator[str]:
    """Every event caused by a callback records its content once, and never before the provider sent it."""
    sent: dict[str, list[str]] = defaultdict(list)
    events: set[str] = set()
    happened: Counter[tuple[str, str]] = Counter()
    for entry in history.entries:
        if entry["what"] == "callback" and not entry["forged"]:
            sent[_cause(entry)].append(entry["body"])
        elif entry["what"] == "write":
            for part in entry["parts"]:
                for (event_id, name, data), (cause, _) in zip(part["events"], part["causes"], strict=True):
                    if not is_callback(cause) or event_id in events:
                        continue
                    events.add(event_id)
                    happened[cause, name] += 1
                    if happened[cause, name] > 1 and name != "ReviewOpened":
                        yield f"8: {cause} became {name} {happened[cause, name]} times"
                    if not any(_led_to(body, cause, name, data, fold) for body in sent[cause]):
                        yield f"9: {name} {data} has the cause {cause}, which reported {sent[cause]}"


def _led_to(body: str, cause: str, name: str, data: Mapping[str, Any], fold: Fold) -> bool:
    if name == "ReviewOpened":
        return True
    said = _read(body)
    seen = None if said is None else fold.transactions.get(said["reference"])
    if said is None or seen is None or not _fits(cause, said, seen):
        return False
    if seen.parent == data["transaction_id"]:
        return name in FROM_CHILDREN and said["status"] in {"completed", "cancelled", "expired"}
    if said["reference"] != data["transaction_id"]:
        return False
    _, what = kind_and_what(name)
    return (
        said["status"] in ENDS.get(what, {said["status"]}) and data.get("gateway_reference", said["id"]) == said["id"]
    )


def _claims(history: History, letters: _Letters) -> Iterator[str]:
    if not history.of("claims"):
        return
    for cause, held in letters.held.items():
        if held not in letters.bodies.get(cause, []):
            yield f"9: {cause} is stored as {held!r}, which never came from its provider"
    for cause in letters.taken:
        if cause not in letters.held:
            yield f"9: {cause} got a 200, and is not stored"


def _judged(cause: str, letters: _Letters, reviews: list[Review], fold: Fold) -> Iterator[str]:
    """At rest, a callback with a 200 is applied or under review; one that agrees with the record opens no review."""
    bodies, held = letters.bodies[cause], letters.held.get(cause)
    applied = [_is_applied(cause, body, fold) for body in bodies]
    if held is not None and letters.taken.get(cause):
        others = sum(body != held for body in letters.taken[cause])
        handled = _is_applied(cause, held, fold) or cause in letters.left_to_children
        wanted = (not handled) + bool(others)
        if len(reviews) < wanted:
            yield f"9: {cause} got a 200, and is neither applied nor under review"
    if reviews and len(bodies) == 1 and applied[0] and not _was_doubtful(bodies[0], fold):
        yield f"10: {cause} agrees with the record, and has a review: {reviews[0].reason}"


def _is_applied(cause: str, body: str, fold: Fold) -> bool:
    said = _read(body)
    seen = fold.transactions.get(said["reference"]) if said is not None else None
    if said is None or seen is None or not _fits(cause, said, seen):
        return False
    return seen.reference in {None, said["id"]} and _agrees(seen, said["status"])


def _agrees(seen: Seen, said: str) -> bool:
    """Whether a report is the present status, or one from which that follows."""
    match said:
        case "authorized":
            return seen.authorized or seen.code in GONE
        case "failed" | "cancelled" | "expired":  # of what was voided nothing moves either
            return seen.status in {"failed", "voided"}
        case _:
            return seen.status == said


def _was_doubtful(body: str, fold: Fold) -> bool:
    """Whether it agrees with the record only at some times.

    That is a failure of a payment that was sent more than once, of which another attempt may succeed, or a hold of one
    that failed.
    """
    said = _read(body)
    seen = None if said is None else fold.transactions.get(said["reference"])
    if said is None or seen is None:
        return False
    if said["status"] == "authorized" and seen.status == "failed":
        return seen.code not in GONE  # it may have come after that failure, which it contradicts
    return said["status"] in ENDS["Failed"] and seen.submissions > 1


def _fits(cause: str, said: Mapping[str, str], seen: Seen) -> bool:
    mine = (cause.partition(":")[0], said["amount"], said["currency"])
    return mine == (seen.gateway, seen.amount, seen.currency)


def _read(body: str) -> Mapping[str, str] | None:
    """The content of the callback, or None if it is unreadable."""
    try:
        said = json.loads(body)
    except ValueError:
        return None
    names = {"reference", "id", "status", "amount", "currency"}
    return said if isinstance(said, dict) and names == said.keys() else None

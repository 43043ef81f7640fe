"""Mutations of a good history, each with the promise that it breaks; they test the checker."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.simulation.checker_keys import SHORT
from tests.simulation.folding import TERMINAL, Fold, fold_streams, is_callback, is_operator
from tests.simulation.history import History

Entry = dict[str, Any]


def suits(history: History) -> bool:
    """Whether ``history`` has all events that the mutations need."""
    happened = {
        (entry["what"], entry.get("state") or entry.get("code") or entry.get("answer") or entry.get("gateway"))
        for entry in history.entries
    }
    written = {event[1] for entry in history.of("write") for part in entry["parts"] for event in part["events"]}
    seen = {entry["status"] for entry in history.of("read")}
    return (
        {
            ("answer", SHORT),
            ("answer", "replayed"),
            ("breaker", "half_open"),
            ("crash", None),
            ("call", "gatewayA"),
            ("call", "gatewayB"),
        }
        <= happened
        and {"DepositFailed", "DepositCompleted", "WithdrawalReceived"} <= written
        and "completed" in seen
        and any(entry["transactions"] for entry in history.of("tables") if entry["when"] == "restart")
        and _has_unordered_record(history)
        and _has_declined(history)
    )


def _has_declined(history: History) -> bool:
    """Whether a transaction failed with the code of its provider, by a call."""
    codes = {code for entry in history.of("truth") for _, code, _ in entry["fates"] if code}
    fold = Fold()
    assert [*fold_streams(history, fold)] == []
    return any(
        seen.status == "failed" and seen.code in codes and not seen.manual and not is_callback(seen.cause)
        for seen in fold.transactions.values()
    )


def _all(history: History, what: str, **fields: Any) -> list[Entry]:
    found = [
        entry
        for entry in history.entries
        if entry["what"] == what and all(entry.get(name) == value for name, value in fields.items())
    ]
    assert found, f"no {what} with {fields} in the history: suits() must ask for it"
    return found


def _first(history: History, what: str, **fields: Any) -> Entry:
    return _all(history, what, **fields)[0]


def _insert_before(history: History, entry: Entry, *new: Entry) -> None:
    index = next(number for number, each in enumerate(history.entries) if each is entry)
    history.entries[index:index] = new


def _last_dump(history: History) -> Entry:
    return next(entry for entry in reversed(history.entries) if entry["what"] == "dump" and len(entry["events"]) > 3)


def _drop_first(what: str) -> Callable[[History], None]:
    def mutate(history: History) -> None:
        history.entries.remove(_first(history, what))

    return mutate


def _answered_effect(history: History) -> Entry:
    """The first effect of a transaction that a call completed; other rules judge callbacks and operators."""
    fold = Fold()
    assert [*fold_streams(history, fold)] == []
    for effect in _all(history, "effect"):
        seen = fold.transactions[effect["key"]]
        if seen.status == "completed" and not is_callback(seen.cause) and not is_operator(seen.who):
            return effect
    raise AssertionError("no call has completed a transaction")


def _without_effect(history: History) -> None:
    history.entries.remove(_answered_effect(history))


def _parts(history: History, *, kind_of_event: str) -> Iterator[tuple[Entry, Entry]]:
    """Parts, with their writes, that hold an event with this end of its type."""
    for entry in _all(history, "write"):
        for part in entry["parts"]:
            if any(event[1].endswith(kind_of_event) for event in part["events"]):
                yield entry, part


def _write(event: list[Any]) -> Entry:
    return {
        "what": "write",
        "at": 0.0,
        "process": 0,
        "after": 0,
        "stream": ["main", "c0"],
        "parts": [{"events": [event], "causes": [[None, None]], "fence": None, "work": []}],
    }


# clients and streams


def _lost(history: History) -> None:
    accepted = _first(history, "answer", answer="accepted")["id"]
    for entry in _all(history, "dump"):
        entry["events"] = [event for event in entry["events"] if accepted not in event["body"]]


def _other_amount(history: History) -> None:
    accepted = _first(history, "answer", answer="accepted")["id"]
    _first(history, "sent", id=accepted)["amount"] += "1"


def _not_stored(history: History) -> None:
    _first(history, "answer", answer="accepted")["answer"] = "not-stored"


def _accepted_as_it_never_was(history: History) -> None:
    _first(history, "answer", answer="accepted")["status"] = "completed"


def _seen_and_gone(history: History) -> None:
    """A transaction that one process accepted is not found at another."""
    read = next(entry for entry in _all(history, "read") if entry["version"] is not None)
    read["version"] = None


def _seen_going_back(history: History) -> None:
    """Some time after a client read a final status, it reads the first status again."""
    read = next(entry for entry in _all(history, "read") if entry["status"] == "completed")
    answer = _first(history, "answer", id=read["id"], answer="accepted")
    again = {**read, "version": answer["version"], "status": "pending", "process": read["process"] + 1}
    history.entries.insert(history.entries.index(read) + 1, again)


def _seen_as_it_never_was(history: History) -> None:
    _first(history, "read", status="completed")["status"] = "failed"


def _cut_tail(history: History) -> None:
    dump = _last_dump(history)
    history.entries.append({**dump, "when": "restart", "events": dump["events"][:-1]})


def _changed_body(history: History) -> None:
    event = _last_dump(history)["events"][1]
    event["body"] = event["body"].replace('"main"', '"mean"')


def _replace_type(old: str, new: str) -> Callable[[History], None]:
    def mutate(history: History) -> None:
        for entry in _all(history, "dump"):
            for event in entry["events"]:
                event["body"] = event["body"].replace(f'"type":"{old}"', f'"type":"{new}"')

    return mutate


def _submitted_as_second(history: History) -> None:
    for entry in _all(history, "dump"):
        for event in entry["events"]:
            event["body"] = event["body"].replace('"attempt":1,', '"attempt":2,')


# keys


def _two_for_a_key(history: History) -> None:
    """Give the same key to two commands that both became transactions."""
    first, second = (
        _first(history, "sent", id=answer["id"]) for answer in _all(history, "answer", answer="accepted")[:2]
    )
    first["key"] = second["key"] = "another"
    second["kind"] = first["kind"]


def _answered_with_another(history: History) -> None:
    replayed = _first(history, "answer", answer="replayed")
    others = [each for each in _all(history, "answer", answer="accepted") if each["id"] != replayed["of"]]
    replayed["of"] = others[0]["id"]


def _refused_again_for_nothing(history: History) -> None:
    replayed = _first(history, "answer", answer="replayed")
    replayed |= {"answer": "refused", "code": f"{SHORT} again"}


def _reused_without_another_request(history: History) -> None:
    replayed = _first(history, "answer", answer="replayed")
    replayed |= {"answer": "refused", "code": "idempotency-key-reused"}
    key = _first(history, "sent", id=replayed["id"])["key"]
    for sent in _all(history, "sent", key=key):
        sent["amount"] = "1"


# tables and balances


def _row(history: History) -> None:
    rows = next(entry["transactions"] for entry in _all(history, "tables", when="rest") if entry["transactions"])
    rows[next(iter(rows))][0] = "pending"


def _balance(history: History) -> None:
    table = next(entry for entry in _all(history, "tables", when="rest") if entry["balances"])
    table["balances"][next(iter(table["balances"]))][0] += 1


def _more_withdrawn_than_there_was(history: History) -> None:
    for entry in _all(history, "dump"):
        for event in entry["events"]:
            body = json.loads(event["body"])
            if body["type"] == "WithdrawalReceived":
                body["data"]["amount"] = "9999999.00" if body["data"]["currency"] == "USD" else "9999999"
                event["body"] = json.dumps(body)


def _refused_for_nothing(history: History) -> None:
    refused = _first(history, "answer", code=SHORT)["id"]
    sent = _first(history, "sent", id=refused)
    sent["amount"] = "0"


# providers


def _double_effect(history: History) -> None:
    history.entries.append(dict(_first(history, "effect")))


def _other_reference(history: History) -> None:
    _answered_effect(history)["id"] = "A-0"


def _other_code(history: History) -> None:
    for entry in _all(history, "truth"):
        entry["fates"] = [[reference, "unheard-of", over] for reference, _, over in entry["fates"]]


def _sent_without_record(history: History) -> None:
    key = _first(history, "call", gateway="gatewayB", verb="submit")["key"]
    for _, part in _parts(history, kind_of_event="Submitted"):
        if _is_of(part, key):
            part["events"], part["causes"] = [], []


def _sent_again(history: History) -> None:
    """A call that may have arrived is followed at once by another one, both on record."""
    call = _first(history, "call", gateway="gatewayB", verb="submit")
    write, part = next(each for each in _parts(history, kind_of_event="Submitted") if _is_of(each[1], call["key"]))
    again = copy.deepcopy(write)
    again["parts"] = [copy.deepcopy(part)]
    again["parts"][0]["events"][0][0] = "another"
    at = history.entries.index(call) + 1
    history.entries[at:at] = [again, {**call, "number": -1}]


def _is_of(part: Entry, key: str) -> bool:
    return any(event[2].get("transaction_id") == key for event in part["events"])


def _submission_with_keys(history: History) -> None:
    call = _first(history, "call", gateway="gatewayA", verb="submit")
    event = ["another", "DepositSubmitted", {"transaction_id": call["key"], "attempt": 1}]
    _insert_before(history, call, _write(event))


def _looked_up_without_lookups(history: History) -> None:
    history.entries.append({**_first(history, "call"), "gateway": "gatewayC", "verb": "lookup", "number": -1})


def _discarded_in_doubt(history: History) -> None:
    call = _first(history, "call", verb="submit")
    event = ["another", "DepositFailed", {"transaction_id": call["key"], "code": "discarded"}]
    history.entries.append(_write(event))


# permits


def _handed_like(breaker: Entry) -> Entry:
    """A call of the same process to the same gateway at the same time."""
    return {**{name: breaker[name] for name in ("at", "gateway", "process")}, "what": "handed", "job": -1}


def _while_open(history: History) -> None:
    opened = _first(history, "breaker", state="open")
    handed = _handed_like(opened)
    history.entries.insert(history.entries.index(opened) + 1, handed)


def _two_probes(history: History) -> None:
    half_open = _first(history, "breaker", state="half_open")
    at = history.entries.index(half_open) + 1
    history.entries[at:at] = [_handed_like(half_open), _handed_like(half_open)]


def _against_orders(history: History) -> None:
    handed = _first(history, "handed")
    order = {**handed, "what": "mode", "mode": "open", "phase": "done"}
    _insert_before(history, handed, order)


ANOTHER: Final = 7
"""The number of a process that nothing hinders."""
LATE_S: Final = 2.1
"""Longer than such a process may take to read the changes of others."""


def _unordered_record(history: History, state: str) -> Entry:
    """The first record of this state of a breaker without an earlier operator command."""
    ordered: set[str] = set()
    for entry in history.entries:
        if entry["what"] == "mode":
            ordered.add(entry["gateway"])
        elif entry["what"] == "record" and entry["state"] == state and entry["gateway"] not in ordered:
            return entry
    raise AssertionError(f"no breaker is {state} by itself: suits() must ask for it")


def _has_unordered_record(history: History) -> bool:
    try:
        _unordered_record(history, "half_open")
    except AssertionError:
        return False
    return True


def _while_open_at_another(history: History) -> None:
    record = _unordered_record(history, "open")
    handed = _handed_like({**record, "at": record["at"] + LATE_S, "process": ANOTHER})
    history.entries.insert(history.entries.index(record) + 1, handed)


def _against_orders_at_another(history: History) -> None:
    handed = _handed_like({**_first(history, "handed"), "at": LATE_S, "process": ANOTHER})
    order = {**handed, "at": 0.0, "process": 0, "what": "mode", "mode": "open", "phase": "done"}
    history.entries[:0] = [order, handed]


def _probe(history: History, record: Entry, process: int) -> list[Entry]:
    at = {"at": record["at"], "process": process, "gateway": record["gateway"], "job": -1}
    call = _first(history, "call", gateway=record["gateway"])
    return [
        {**at, "what": "breaker", "state": "half_open"},
        {**at, "what": "handed"},
        {**call, **at, "number": -1},
    ]


def _probe_of_another(history: History) -> None:
    record = _unordered_record(history, "half_open")
    at = history.entries.index(record) + 1
    history.entries[at:at] = _probe(history, record, ANOTHER)


def _probe_once_more(history: History) -> None:
    record = _unordered_record(history, "half_open")
    at = history.entries.index(record) + 1
    probe = _probe(history, record, record["prober"])
    history.entries[at:at] = [*probe, *probe]


# work


def _reported(history: History) -> Entry:
    """The part of a write that recorded a call's outcome."""
    parts = (part for _, part in _parts(history, kind_of_event="Completed") if part["fence"])
    return next(
        part for part in parts if not any(is_callback(cause) or is_operator(who) for cause, who in part["causes"])
    )


def _stale_token(history: History) -> None:
    _reported(history)["fence"][1] -= 1


def _no_token(history: History) -> None:
    _reported(history)["fence"] = None


def _old_token_for_another_owner(history: History) -> None:
    for entry in _all(history, "work"):
        for key, row in entry["rows"].items():
            if row is not None and row[1] == "leased":
                taken = {"what": "work", "at": 0.0, "rows": {key: [row[0], "queued", None]}}
                history.entries.insert(history.entries.index(entry) + 1, taken)
                return


def _unfinished(history: History) -> None:
    for table in _all(history, "tables", when="rest"):
        for key, (status, _) in table["transactions"].items():
            if status in TERMINAL:
                table["unfinished"].append(key)
                return


def _forgotten(history: History) -> None:
    table = next(entry for entry in _all(history, "tables", when="restart") if entry["transactions"])
    rows = table["transactions"]
    rows[next(iter(rows))][0] = "pending"
    table["unfinished"], table["reviews"] = [], []


def _needless_review(history: History) -> None:
    sent = _first(history, "sent")
    event = ["another", "ReviewOpened", {"transaction_id": sent["id"], "review_id": "r", "reason": "none"}]
    history.entries.append({**_write(event), "at": sent["at"]})


MUTATIONS: Final[list[tuple[Callable[[History], None], str]]] = [
    (_lost, "1: "),
    (_other_amount, "1: "),
    (_drop_first("answer"), "1: "),
    (_accepted_as_it_never_was, "1: "),
    (_two_for_a_key, "2: .* became 2"),
    (_answered_with_another, "2: "),
    (_refused_again_for_nothing, "2: .* refusal"),
    (_reused_without_another_request, "2: .* which no client sent"),
    (_double_effect, "3: "),
    (_sent_without_record, "3: "),
    (_sent_again, "3: "),
    (_submission_with_keys, "3: "),
    (_looked_up_without_lookups, "3: "),
    (_without_effect, "4: "),
    (_replace_type("DepositCompleted", "DepositFailed"), "4: "),
    (_discarded_in_doubt, "4: "),
    (_cut_tail, "5: "),
    (_changed_body, "5: "),
    (_replace_type("DepositProcessed", "DepositOutcomeUnknown"), "6: "),
    (_submitted_as_second, "6: "),
    (_row, "7: "),
    (_balance, "7: "),
    (_more_withdrawn_than_there_was, "7: "),
    (_refused_for_nothing, "7: "),
    (_other_reference, "8: "),
    (_other_code, "8: "),
    (_unfinished, "10: "),
    (_forgotten, "10: "),
    (_needless_review, "10: "),
    (_seen_and_gone, "11: "),
    (_seen_going_back, "11: "),
    (_seen_as_it_never_was, "11: "),
    (_stale_token, "12: "),
    (_no_token, "12: "),
    (_old_token_for_another_owner, "12: "),
    (_while_open, "13: .* while its breaker was open"),
    (_two_probes, "13: .* beside the probe"),
    (_against_orders, "13: .* against the operator's order"),
    (_while_open_at_another, "13: .* although another process had recorded it as open"),
    (_against_orders_at_another, "13: .* against the operator's order"),
    (_probe_of_another, r"13: a probe to .* while process \d+ had the probe"),
    (_probe_once_more, "13: a second probe"),
    (_not_stored, "14: "),
]
"""Mutations of a history, each with a regular expression for the beginning of the checker's sentence about it."""

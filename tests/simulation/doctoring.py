"""Ways to falsify a good history, each with the promise that it breaks: what the checker's own tests are made of."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.simulation.history import History

Entry = dict[str, Any]


def suits(history: History) -> bool:
    """Whether everything happened in ``history`` that the falsifications need."""
    happened = {
        (entry["what"], entry.get("state") or entry.get("answer") or entry.get("gateway")) for entry in history.entries
    }
    written = {event[1] for entry in history.of("write") for part in entry["parts"] for event in part["events"]}
    return {
        ("answer", "refused"),
        ("breaker", "half_open"),
        ("crash", None),
        ("call", "gatewayA"),
        ("call", "gatewayB"),
    } <= happened and {"DepositFailed", "DepositCompleted", "WithdrawalReceived"} <= written


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
    def falsify(history: History) -> None:
        history.entries.remove(_first(history, what))

    return falsify


def _parts(history: History, *, kind_of_event: str) -> Iterator[tuple[Entry, Entry]]:
    """Writes and those of their parts that hold an event whose type ends so."""
    for entry in _all(history, "write"):
        for part in entry["parts"]:
            if any(event[1].endswith(kind_of_event) for event in part["events"]):
                yield entry, part


def _write(event: list[Any]) -> Entry:
    return {
        "what": "write",
        "at": 0.0,
        "stream": ["main", "c0"],
        "parts": [{"events": [event], "fence": None, "work": []}],
    }


# clients and streams


def _lost(history: History) -> None:
    accepted = _first(history, "answer", answer="accepted")["id"]
    for entry in _all(history, "dump"):
        entry["events"] = [event for event in entry["events"] if accepted not in event["body"]]


def _other_amount(history: History) -> None:
    _first(history, "sent")["amount"] += "1"


def _not_stored(history: History) -> None:
    _first(history, "answer", answer="accepted")["answer"] = "not-stored"


def _cut_tail(history: History) -> None:
    dump = _last_dump(history)
    history.entries.append({**dump, "when": "restart", "events": dump["events"][:-1]})


def _changed_body(history: History) -> None:
    event = _last_dump(history)["events"][1]
    event["body"] = event["body"].replace('"main"', '"mean"')


def _replace_type(old: str, new: str) -> Callable[[History], None]:
    def falsify(history: History) -> None:
        for entry in _all(history, "dump"):
            for event in entry["events"]:
                event["body"] = event["body"].replace(f'"type":"{old}"', f'"type":"{new}"')

    return falsify


def _submitted_as_second(history: History) -> None:
    for entry in _all(history, "dump"):
        for event in entry["events"]:
            event["body"] = event["body"].replace('"attempt":1,', '"attempt":2,')


# tables and balances


def _row(history: History) -> None:
    rows = _first(history, "tables", when="rest")["transactions"]
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
    refused = _first(history, "answer", answer="refused")["id"]
    sent = _first(history, "sent", id=refused)
    sent["amount"] = "0"


# providers


def _double_effect(history: History) -> None:
    history.entries.append(dict(_first(history, "effect")))


def _other_reference(history: History) -> None:
    _first(history, "effect")["id"] = "A-0"


def _other_code(history: History) -> None:
    for entry in _all(history, "truth"):
        entry["fates"] = [[reference, "unheard-of", over] for reference, _, over in entry["fates"]]


def _sent_without_record(history: History) -> None:
    _, part = next(_parts(history, kind_of_event="Submitted"))
    part["events"] = []


def _sent_again(history: History) -> None:
    """A call that may have arrived, then at once another, both on record."""
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


def _looked_up_where_nobody_answers(history: History) -> None:
    history.entries.append({**_first(history, "call"), "gateway": "gatewayC", "verb": "lookup", "number": -1})


def _discarded_in_doubt(history: History) -> None:
    call = _first(history, "call", verb="submit")
    event = ["another", "DepositFailed", {"transaction_id": call["key"], "code": "discarded"}]
    history.entries.append(_write(event))


# permits


def _while_open(history: History) -> None:
    opened = _first(history, "breaker", state="open")
    handed = _first(history, "handed", gateway=opened["gateway"])
    history.entries.insert(history.entries.index(opened) + 1, dict(handed))


def _two_probes(history: History) -> None:
    half_open = _first(history, "breaker", state="half_open")
    handed = _first(history, "handed", gateway=half_open["gateway"])
    at = history.entries.index(half_open) + 1
    history.entries[at:at] = [dict(handed), dict(handed)]


def _against_orders(history: History) -> None:
    handed = _first(history, "handed")
    order = {"what": "mode", "at": 0.0, "gateway": handed["gateway"], "mode": "open", "phase": "done"}
    _insert_before(history, handed, order)


# work


def _stale_token(history: History) -> None:
    _, part = next(each for each in _parts(history, kind_of_event="Completed") if each[1]["fence"])
    part["fence"][1] -= 1


def _no_token(history: History) -> None:
    _, part = next(each for each in _parts(history, kind_of_event="Completed") if each[1]["fence"])
    part["fence"] = None


def _old_token_for_another_owner(history: History) -> None:
    for entry in _all(history, "work"):
        for key, row in entry["rows"].items():
            if row is not None and row[1] == "leased":
                taken = {"what": "work", "at": 0.0, "rows": {key: [row[0], "queued", None]}}
                history.entries.insert(history.entries.index(entry) + 1, taken)
                return


def _unfinished(history: History) -> None:
    table = _first(history, "tables", when="rest")
    table["unfinished"].append(next(iter(table["transactions"])))


def _forgotten(history: History) -> None:
    table = _first(history, "tables", when="restart")
    rows = table["transactions"]
    rows[next(iter(rows))][0] = "pending"
    table["unfinished"], table["reviews"] = [], []


def _needless_review(history: History) -> None:
    sent = _first(history, "sent")
    event = ["another", "ReviewOpened", {"transaction_id": sent["id"], "review_id": "r", "reason": "none"}]
    history.entries.append({**_write(event), "at": sent["at"]})


FALSIFICATIONS: Final[list[tuple[Callable[[History], None], str]]] = [
    (_lost, "1: "),
    (_other_amount, "1: "),
    (_drop_first("answer"), "1: "),
    (_double_effect, "3: "),
    (_sent_without_record, "3: "),
    (_sent_again, "3: "),
    (_submission_with_keys, "3: "),
    (_looked_up_where_nobody_answers, "3: "),
    (_drop_first("effect"), "4: "),
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
    (_stale_token, "12: "),
    (_no_token, "12: "),
    (_old_token_for_another_owner, "12: "),
    (_while_open, "13: "),
    (_two_probes, "13: "),
    (_against_orders, "13: "),
    (_not_stored, "14: "),
]
"""What to do to a history, and what the checker's sentence about it begins with."""

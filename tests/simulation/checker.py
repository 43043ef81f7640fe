"""Judges a history by the promises of the service. It reads only the history and shares no rules with the code.

The numbers are those of the promises in docs/architecture.md. This module compares the clients' commands with the
record, and the record with its read tables. The other ``checker_`` modules check the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulation.checker_breakers import breaker_violations
from tests.simulation.checker_callbacks import callback_violations
from tests.simulation.checker_children import children_violations
from tests.simulation.checker_events import event_violations
from tests.simulation.checker_gateways import effect_violations, sending_violations
from tests.simulation.checker_keys import key_violations
from tests.simulation.checker_leases import lease_violations
from tests.simulation.checker_operators import operator_violations
from tests.simulation.checker_reading import reading_violations
from tests.simulation.checker_refusals import refusal_violations
from tests.simulation.checker_roles import role_violations
from tests.simulation.checker_work import token_violations, waiting_violations
from tests.simulation.folding import TERMINAL, Fold, Seen, fold_streams
from tests.simulation.history import History


def violations(history: History) -> list[str]:
    """Every broken promise, as a sentence that begins with the promise's number."""
    fold = Fold()
    found = [*fold_streams(history, fold)]
    found += _answers(history, fold)
    found += reading_violations(history)
    found += key_violations(history, fold)
    found += refusal_violations(history)
    found += effect_violations(history, fold)
    found += sending_violations(history)
    found += breaker_violations(history)
    found += token_violations(history)
    found += waiting_violations(history, fold)
    found += callback_violations(history, fold)
    found += operator_violations(history, fold)
    found += children_violations(history, fold)
    found += event_violations(history)
    found += lease_violations(history)
    found += role_violations(history)
    found += _tables(history, fold)
    return found


def _answers(history: History, fold: Fold) -> Iterator[str]:
    """Promises 1 and 14: the answers to clients agree with the record."""
    answers = {entry["id"]: entry for entry in history.of("answer")}
    sent = {entry["id"]: entry for entry in history.of("sent")}
    for key, request in sent.items():
        recorded = fold.transactions.get(key)
        yield from _answered(key, answers.get(key), recorded)
        if recorded is not None:
            names = ["kind", "gateway", "currency", "customer", "parent"]
            names += [] if request["amount"] is None else ["amount"]
            if [getattr(recorded, name) for name in names] != [request[name] for name in names]:
                yield f"1: {key} is on record with other contents than were sent"
    for key in fold.transactions.keys() - sent.keys():
        yield f"1: {key} is on record and was never sent"
    for rest in history.of("rest"):
        if rest["outstanding"]:
            yield "1: requests were left without an answer"


def _answered(key: str, answer: Mapping[str, Any] | None, recorded: Seen | None) -> Iterator[str]:
    if answer is None:
        yield f"1: {key} got no answer although its process lived"
    elif answer["answer"] == "accepted" and recorded is None:
        yield f"1: {key} was accepted and is not on record"
    elif answer["answer"] in {"not-stored", "refused", "replayed"} and recorded is not None:
        yield f"14: {key} was answered {answer['answer']} and is on record"


def _tables(history: History, fold: Fold) -> Iterator[str]:
    """Promise 7: at rest, the read tables are the fold of the events, and no finished withdrawal is reserved."""
    rows: dict[str, list[str | None]] = {}
    balances: dict[tuple[str, str], list[int]] = {}
    reviews: list[str | None] = []
    for table in (entry for entry in history.of("tables") if entry["when"] == "rest"):
        rows |= table["transactions"]
        balances |= {(table["stream"][1], currency): both for currency, both in table["balances"].items()}
        reviews += [transaction_id for transaction_id, state in table["reviews"] if state == "open"]
    if rows != {key: [seen.status, seen.reference] for key, seen in fold.transactions.items()}:
        yield "7: the transactions' read rows are not the fold of the events"
    if {key: both for key, both in balances.items() if any(both)} != {k: v for k, v in fold.balances.items() if any(v)}:
        yield "7: the balances are not the fold of the events"
    if sorted(map(str, reviews)) != sorted(map(str, fold.open_reviews)):
        yield "7: the reviews' read rows are not the fold of the events"
    open_ones = [seen for seen in fold.transactions.values() if seen.reserved and seen.status not in TERMINAL]
    if sum(both[1] for both in fold.balances.values()) != sum(seen.minor for seen in open_ones):
        yield "7: the reserved amounts are not those of the open withdrawals"

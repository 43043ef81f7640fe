"""Operator commands: each is applied once, to the reviewed version, and the record has no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.simulation.folding import Fold, is_operator
from tests.simulation.history import History

Entry = Mapping[str, Any]


def operator_violations(history: History, fold: Fold) -> Iterator[str]:
    """Promises 4, 7 and 14 for resolutions, adjustments and closed reviews."""
    answers = {entry["who"]: entry["answer"] for entry in history.of("ordered")}
    yield from _resolutions(history, fold, answers)
    yield from _adjustments(history, fold, answers)
    yield from _closings(history, fold, answers)


def _resolutions(history: History, fold: Fold, answers: Mapping[str, str]) -> Iterator[str]:
    orders = {entry["who"]: entry for entry in history.of("resolving")}
    for who, order in orders.items():
        seen, answer = fold.transactions[order["id"]], answers.get(who)
        followed = order["said"] == "authorized" and seen.status in {"completed", "voided", "failed"}
        if answer == "accepted" and seen.status != order["said"] and not followed:
            yield f"4: {who} resolved {order['id']} as {order['said']}, and it is {seen.status}"
        if answer in {"refused", "not-stored"} and seen.who == who:
            yield f"14: {who} was answered {answer}, and resolved {order['id']}"
    for key, seen in fold.transactions.items():
        if not is_operator(seen.who):
            continue
        order_of = orders.get(seen.who or "")
        if order_of is not None and fold.transactions[order_of["id"]].parent == key:
            continue  # it ended with its capture or void
        if order_of is None or order_of["id"] != key or order_of["said"] != seen.status:
            yield f"4: {key} was resolved as {seen.status} by {seen.who}, whose command was {order_of}"
        elif order_of["version"] != seen.settled_at:
            yield f"4: {key} was resolved in version {seen.settled_at}; {seen.who} had read {order_of['version']}"


def _adjustments(history: History, fold: Fold, answers: Mapping[str, str]) -> Iterator[str]:
    orders = {entry["id"]: entry for entry in history.of("adjusting")}
    for key, order in orders.items():
        answer, made = answers.get(order["who"]), key in fold.adjustments
        if answer == "adjusted" and not made:
            yield f"7: the adjustment {key} was answered as made, and was not made"
        if answer in {"refused", "not-stored", "replayed"} and made:
            yield f"14: the adjustment {key} was answered {answer}, and was made"
    for key, made_so in fold.adjustments.items():
        order_of = orders.get(key)
        names = ("customer", "amount", "currency", "who")
        if order_of is None or any(getattr(made_so, name) != order_of[name] for name in names):
            yield f"7: the adjustment {key} was made as {made_so}, and ordered as {order_of}"


def _closings(history: History, fold: Fold, answers: Mapping[str, str]) -> Iterator[str]:
    orders = {entry["who"]: entry for entry in history.of("closing")}
    for who, order in orders.items():
        review, answer = fold.reviews.get(order["id"]), answers.get(who)
        if answer == "closed" and (review is None or not review.closed_by):
            yield f"10: {who} got the answer that the review {order['id']} is closed, and it is open"
        if answer == "not-stored" and review is not None and who in review.closed_by:
            yield f"14: {who} was answered {answer}, and closed the review {order['id']}"
    for key, review in fold.reviews.items():
        for by in review.closed_by:
            if by not in orders or orders[by]["id"] != key:
                yield f"10: the review {key} was closed by {by} without a command"

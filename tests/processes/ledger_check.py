"""Compares the final statuses of deposits and withdrawals with the provider's ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.processes.commands import events, transactions
from tests.processes.installation import Books, Installation


def wrong_ends(installation: Installation, customers: Sequence[str]) -> list[str]:
    """Problems in the final state of these customers, as sentences."""
    books = installation.books()
    found: list[str] = []
    for customer in customers:
        on_record = events(installation, customer)
        owned = transactions(installation, [customer])
        found += _transactions(owned, on_record, books)
        found += _balance(installation, customer, owned)
        if [event["version"] for event in on_record] != list(range(1, len(on_record) + 1)):
            found.append(f"5: the versions of {customer} are not 1, 2, 3 and so on")
    reviews = installation.get("/v1/reviews").body["items"]
    return found + [f"a review: {review}" for review in reviews]


def _transactions(
    owned: Sequence[Mapping[str, Any]], on_record: Sequence[Mapping[str, Any]], books: Books
) -> Iterator[str]:
    types: dict[str, list[str]] = defaultdict(list)
    for event in on_record:
        if "transaction_id" in event["data"]:
            types[event["data"]["transaction_id"]].append(event["type"])
    for transaction in owned:
        key, status = transaction["transaction_id"], transaction["status"]
        effects = [effect["id"] for effect in books.effects if effect["reference"] == key]
        if len(effects) != {"completed": 1, "failed": 0}.get(status):
            yield f"4: {key} is {status}, and the provider has moved money for it {len(effects)} times"
        named = effects or [line["id"] for line in books.taken if line["reference"] == key and line["id"] is not None]
        if named and transaction["gateway_reference"] not in named:
            yield f"8: {key} has the reference {transaction['gateway_reference']}, but at the provider it is {named}"
        if sum(name.endswith(("Completed", "Failed")) for name in types[key]) != 1:
            yield f"6: {key} has not exactly one final event: {types[key]}"
        if sum(name.endswith("Received") for name in types[key]) != 1:
            yield f"1: {key} was not received exactly once: {types[key]}"
        if transaction["attention"] is not None:
            yield f"10: {key} needs attention: {transaction['attention']}"


def _balance(installation: Installation, customer: str, owned: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    total = Decimal(0)
    for transaction in owned:
        if transaction["status"] == "completed":
            sign = 1 if transaction["type"] == "deposit" else -1
            total += sign * Decimal(transaction["amount"])
    (balance,) = installation.get(f"/v1/customers/{customer}").body["balances"]
    if (Decimal(balance["available"]), Decimal(balance["reserved"])) != (total, Decimal(0)):
        yield f"7: {customer} has {balance}, and the sum of the completed transactions is {total}"

"""``manage.py customers``: show and correct a customer's balances."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from cli.actions import Actions, Tools, add_key, add_reason, key_of, run
from cli.client import Json
from cli.text import NOTHING, argument, shown

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare show, adjust."""
    actions = Actions(parser)
    show = actions.add("show", _show, "Show a customer's balances.")
    show.add_argument("customer_id", metavar="ID")
    adjust = actions.add("adjust", _adjust, "Correct a balance; never below zero.")
    adjust.add_argument("customer_id", metavar="ID")
    adjust.add_argument("amount", metavar="AMOUNT", help="added to the available balance, such as 10.50 or -10.50")
    adjust.add_argument("currency", metavar="CURRENCY")
    add_reason(adjust, evidence=True)
    add_key(adjust)


def _values(it: Json) -> Iterator[tuple[str, str]]:
    yield "customer_id", shown(it["customer_id"])
    yield "version", shown(it["version"])
    for balance in it["balances"]:
        yield (
            shown(balance["currency"]),
            f"{shown(balance['available'])} available, {shown(balance['reserved'])} reserved",
        )
    if not it["balances"]:
        yield "balances", NOTHING


def _show(tools: Tools, arguments: argparse.Namespace) -> None:
    it = tools.client.get("customers", arguments.customer_id, members=("customer_id", "version", "balances"))
    tools.output.thing(it, _values(it))


def _adjust(tools: Tools, arguments: argparse.Namespace) -> None:
    key = key_of(arguments)
    correction = {name: getattr(arguments, name) for name in ("amount", "currency", "reason", "evidence")}
    it = tools.client.send(
        *("customers", arguments.customer_id, "adjustments"),
        body=correction,
        key=key,
        members=("customer_id", "version", "balances"),
        how_to_check=f"Repeat it with --idempotency-key {argument(key)}: the correction is made at most once.",
    )
    tools.output.thing(it, _values(it))

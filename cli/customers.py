"""``manage.py customers``: what a customer has, and a person's correction of it."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Iterator

from cli.actions import Actions, Tools, add_reason, run
from cli.client import Json
from cli.command import CommandError, Exit, remark
from cli.text import NOTHING, shown

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Show, adjust."""
    actions = Actions(parser)
    show = actions.add("show", _show, "A customer's balances.")
    show.add_argument("customer_id", metavar="ID")
    adjust = actions.add("adjust", _adjust, "Correct a balance; never below zero.")
    adjust.add_argument("customer_id", metavar="ID")
    adjust.add_argument("amount", metavar="AMOUNT", help="added to what is available, such as 10.50 or -10.50")
    adjust.add_argument("currency", metavar="CURRENCY")
    add_reason(adjust, evidence=True)
    adjust.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="the same correction under the same key is made once (default: a new one)",
    )


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
    it = tools.client.get("customers", arguments.customer_id)
    tools.output.thing(it, _values(it))


def _adjust(tools: Tools, arguments: argparse.Namespace) -> None:
    key = arguments.idempotency_key or str(uuid.uuid4())
    order = {name: getattr(arguments, name) for name in ("amount", "currency", "reason", "evidence")}
    try:
        it = tools.client.order("customers", arguments.customer_id, "adjustments", body=order, key=key)
    except CommandError as error:
        if error.status is Exit.UNKNOWN:  # the one case in which it must be the very same key
            remark(f"the same again with --idempotency-key {shown(key)} is made once at most")
        raise
    tools.output.thing(it, _values(it))

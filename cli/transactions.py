"""``manage.py transactions``: show, refund, capture and void transactions, and resolve unfinished ones."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from marshmallow import ValidationError

from api.fields import Timestamp
from cli.actions import Action, Actions, Tools, add_key, add_listing, add_reason, key_of, run
from cli.client import Json
from cli.command import remark
from cli.output import Column, Columns
from cli.text import argument, at, shown

__all__ = ["add_arguments", "run", "values"]

_COLUMNS: Final[Columns] = {
    "TRANSACTION": Column(lambda it: shown(it["transaction_id"]), is_whole=True),
    "TYPE": Column(lambda it: shown(it["type"]), is_optional=True),
    "STATUS": Column(lambda it: shown(it["status"]), is_whole=True),
    "ATTENTION": Column(lambda it: shown(it["attention"]), is_optional=True),
    "AMOUNT": Column(lambda it: shown(f"{it['amount']} {it['currency']}"), is_whole=True, is_right=True),
    "GATEWAY": Column(lambda it: shown(it["gateway"]), is_whole=True, is_optional=True),
    "CUSTOMER": Column(lambda it: shown(it["customer_id"]), is_whole=True),
    "CREATED": Column(lambda it: at(it["created_at"]), is_optional=True),
}

_FILTERS: Final = (
    *("customer_id", "status", "gateway", "type", "parent_id", "gateway_reference", "correlation_id"),
    *("created_from", "created_to"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare list, show, refund, capture, void, resolve."""
    actions = Actions(parser)
    listing = actions.add("list", _list, "List transactions, newest first.")
    listing.add_argument("--customer", dest="customer_id", metavar="ID")
    listing.add_argument(
        "--status",
        metavar="STATUS",
        help="pending, unknown, processed, authorized, completed, voided or failed",
    )
    listing.add_argument("--gateway", metavar="NAME")
    listing.add_argument("--type", metavar="TYPE", help="deposit, withdrawal, refund, capture or void")
    listing.add_argument(
        "--parent", dest="parent_id", metavar="ID", help="refunds, captures and voids of this transaction"
    )
    listing.add_argument("--gateway-reference", metavar="ID", help="the gateway's own id")
    listing.add_argument("--correlation-id", metavar="ID", help="the X-Request-ID of the request")
    listing.add_argument(
        "--from", dest="created_from", type=_time, metavar="TIME", help="created at this time or later (RFC 3339)"
    )
    listing.add_argument("--to", dest="created_to", type=_time, metavar="TIME", help="created before this time")
    add_listing(listing)
    show = actions.add("show", _show, "Show one transaction.")
    show.add_argument("transaction_id", metavar="ID")
    refund = actions.add("refund", _child("refunds", "amount", "reason"), "Refund a completed deposit.")
    capture = actions.add("capture", _child("captures", "amount"), "Take the money of an authorized deposit.")
    void = actions.add("void", _child("voids"), "Release the money of an authorized deposit.")
    for child in (refund, capture, void):
        child.add_argument("transaction_id", metavar="ID")
    refund.add_argument("--amount", metavar="AMOUNT", help="such as 10.50 (default: what is left)")
    refund.add_argument("--reason", metavar="TEXT", help="the reason, for the record")
    capture.add_argument("--amount", metavar="AMOUNT", help="such as 10.50; the rest is released (default: all)")
    for child in (refund, capture, void):
        add_key(child)
    resolve = actions.add("resolve", _resolve, "Record how an unfinished transaction ended, as the provider confirmed.")
    resolve.add_argument("transaction_id", metavar="ID")
    resolve.add_argument("outcome", choices=("completed", "authorized", "failed"))
    add_reason(resolve, evidence=True)
    resolve.add_argument(
        "--version",
        type=int,
        metavar="N",
        help="the version that you reviewed (default: the present one, which is printed first)",
    )


def _time(text: str) -> str:
    """Check ``text`` here, because the service's own error refers to URLs."""
    try:
        Timestamp().deserialize(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(
            f"not an RFC 3339 time such as 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+02:00: {text!a}"
        ) from None
    return text


def values(it: Json) -> Iterator[tuple[str, str]]:
    """All members of a transaction."""
    for name in ("transaction_id", "type", "status", "attention"):
        yield name, shown(it[name])
    yield "amount", shown(f"{it['amount']} {it['currency']}")
    for name in ("captured_amount", "refunded_amount", "refunding_amount"):
        yield name, shown(it[name])
    for name in ("parent_id", "reason", "gateway", "gateway_reference", "customer_id", "details", "failure", "version"):
        yield name, shown(it[name])
    yield "authorization_expires_at", at(it["authorization_expires_at"])
    yield "created_at", at(it["created_at"])
    yield "updated_at", at(it["updated_at"])


def _list(tools: Tools, arguments: argparse.Namespace) -> None:
    where = {name: getattr(arguments, name) for name in _FILTERS}
    tools.output.listing(_COLUMNS, tools.client.pages("transactions", at_most=arguments.limit, **where))


def _show(tools: Tools, arguments: argparse.Namespace) -> None:
    it = tools.client.get("transactions", arguments.transaction_id, members=("status", "version"))
    tools.output.thing(it, values(it))


def _child(route: str, *names: str) -> Action:
    """The action that sends a command with the fields ``names`` to a transaction's ``route``."""

    def act(tools: Tools, arguments: argparse.Namespace) -> None:
        key = key_of(arguments)
        given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
        it = tools.client.send(
            *("transactions", arguments.transaction_id, route),
            body=given,
            key=key,
            members=("transaction_id", "status"),
            how_to_check=f"Repeat it with --idempotency-key {argument(key)}: it is carried out at most once.",
        )
        tools.output.thing(it, values(it))

    return act


def _resolve(tools: Tools, arguments: argparse.Namespace) -> None:
    version = arguments.version
    if version is None:
        seen = tools.client.get("transactions", arguments.transaction_id, members=("status", "version"))
        version = seen["version"]
        remark(f"is {shown(seen['status'])}, version {shown(version)} now")
    resolution = {"outcome": arguments.outcome, "reason": arguments.reason, "evidence": arguments.evidence}
    it = tools.client.send(
        *("transactions", arguments.transaction_id, "resolution"),
        body=resolution | {"version": version},
        members=("transaction_id", "status"),
        how_to_check=f"See: manage.py transactions show {argument(arguments.transaction_id)}.",
    )
    tools.output.thing(it, values(it))

"""``manage.py reviews``: show contradictions of the record, and close reviews."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from cli.actions import Actions, Tools, add_listing, add_reason, run
from cli.client import Json
from cli.output import Column, Columns
from cli.text import NOTHING, at, shown

__all__ = ["add_arguments", "run"]

_COLUMNS: Final[Columns] = {
    "REVIEW": Column(lambda it: shown(it["id"]), is_whole=True),
    "STATE": Column(lambda it: shown(it["state"]), is_whole=True),
    "TRANSACTION": Column(lambda it: shown(it["transaction_id"]), is_whole=True, is_optional=True),
    "GATEWAY": Column(lambda it: shown(it.get("gateway")), is_whole=True, is_optional=True),
    "OPENED": Column(lambda it: at(it["opened_at"]), is_optional=True),
    "CUSTOMER": Column(lambda it: shown(it["customer_id"]), is_whole=True, is_optional=True),
    "EVENT ID": Column(lambda it: _said(it, "event_id"), is_whole=True, is_optional=True),
    "SAID": Column(lambda it: _said(it, "status", "amount", "currency"), is_optional=True),
    "REASON": Column(lambda it: shown(it["reason"])),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare list, show, close."""
    actions = Actions(parser)
    listing = actions.add("list", _list, "List reviews, newest first.")
    listing.add_argument("--state", metavar="STATE", help="open or closed")
    add_listing(listing)
    show = actions.add("show", _show, "Show one review: the gateway's report, and the record at that time.")
    show.add_argument("id", metavar="ID")
    close = actions.add("close", _close, "Close a review. A closed review does not change.")
    close.add_argument("id", metavar="ID")
    add_reason(close)


def _list(tools: Tools, arguments: argparse.Namespace) -> None:
    pages = tools.client.pages("reviews", at_most=arguments.limit, state=arguments.state)
    tools.output.listing(_COLUMNS, pages)


def _show(tools: Tools, arguments: argparse.Namespace) -> None:
    it = tools.client.get("reviews", arguments.id)
    tools.output.thing(it, _values(it))


def _close(tools: Tools, arguments: argparse.Namespace) -> None:
    it = tools.client.send(
        *("reviews", arguments.id, "close"),
        body={"reason": arguments.reason},
        members=("id", "state"),
        how_to_check="See: manage.py reviews list. A repetition does not change a closed review.",
    )
    tools.output.thing(it, _values(it))


def _values(it: Json) -> Iterator[tuple[str, str]]:
    for name in ("id", "state", "transaction_id", "customer_id", "gateway", "reason"):
        yield name, shown(it.get(name))  # a service of an earlier version has fewer members
    yield "opened_at", at(it["opened_at"])
    yield "closed_at", at(it["closed_at"])
    for part in ("said", "expected"):
        for name, value in (it.get(part) or {}).items():
            yield f"{part} {name}", at(value) if name == "at" else shown(value)


def _said(it: Json, *names: str) -> str:
    """The members of ``said`` that are present."""
    said = it.get("said") or {}
    return " ".join(shown(said[name]) for name in names if said.get(name) is not None) or NOTHING

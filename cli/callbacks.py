"""``manage.py callbacks``: show callbacks that wait for their transaction."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from cli.actions import Actions, Tools, add_listing, run
from cli.client import Json
from cli.output import Column, Columns
from cli.text import at, shown

__all__ = ["add_arguments", "run"]

_COLUMNS: Final[Columns] = {
    "CALLBACK": Column(lambda it: shown(it["id"]), is_whole=True),
    "GATEWAY": Column(lambda it: shown(it["gateway"]), is_whole=True),
    "EVENT ID": Column(lambda it: shown(it["event_id"]), is_whole=True),
    "REFERENCE": Column(lambda it: shown(it["reference"]), is_optional=True),
    "AMOUNT": Column(lambda it: shown(it["amount"]), is_right=True, is_optional=True),
    "CURRENCY": Column(lambda it: shown(it["currency"]), is_optional=True),
    "WAITS UNTIL": Column(lambda it: at(it["waits_until"])),
    "RECEIVED": Column(lambda it: at(it["received_at"]), is_optional=True),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare list, show."""
    actions = Actions(parser)
    listing = actions.add("list", _list, "List callbacks that wait for their transaction, newest first.")
    listing.add_argument("--gateway", metavar="NAME")
    add_listing(listing)
    show = actions.add("show", _show, "Show one waiting callback with its body.")
    show.add_argument("id", metavar="ID")


def _list(tools: Tools, arguments: argparse.Namespace) -> None:
    pages = tools.client.pages("waiting-callbacks", at_most=arguments.limit, gateway=arguments.gateway)
    tools.output.listing(_COLUMNS, pages)


def _show(tools: Tools, arguments: argparse.Namespace) -> None:
    it = tools.client.get("waiting-callbacks", arguments.id)
    tools.output.thing(it, _values(it))


def _values(it: Json) -> Iterator[tuple[str, str]]:
    for name in ("id", "gateway", "event_id", "reference", "gateway_reference", "status", "amount", "currency"):
        yield name, shown(it[name])
    yield "received_at", at(it["received_at"])
    yield "waits_until", at(it["waits_until"])
    yield "attempts", shown(it["attempts"])
    yield "next_attempt_at", at(it["next_attempt_at"])
    yield "body_bytes", shown(it["body_bytes"])
    yield "body", shown(it["body"])

"""``manage.py dead-letters``: show, retry and discard work that failed too often."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from cli import transactions
from cli.actions import Actions, Tools, add_listing, add_reason, run
from cli.client import Json
from cli.output import Column, Columns
from cli.text import NOTHING, argument, at, shown

__all__ = ["add_arguments", "run"]

_COLUMNS: Final[Columns] = {
    "DEAD LETTER": Column(lambda it: shown(it["id"]), is_whole=True),
    "GATEWAY": Column(lambda it: shown(it["gateway"]), is_whole=True),
    "ACTION": Column(lambda it: shown(it["action"]), is_optional=True),
    "STATE": Column(lambda it: shown(it["state"]), is_whole=True),
    "ATTEMPTS": Column(lambda it: shown(it["attempts"]), is_optional=True),
    "NEXT ATTEMPT": Column(lambda it: at(it["next_attempt_at"]), is_optional=True),
    "LAST ERROR": Column(lambda it: shown(it["errors"][-1]["error"]) if it["errors"] else NOTHING),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare list, show, retry, retry-all, discard."""
    actions = Actions(parser)
    listing = actions.add("list", _list, "List dead letters, newest first.")
    _add_filters(listing)
    add_listing(listing)
    show = actions.add("show", _show, "Show one dead letter with the errors of its attempts.")
    show.add_argument("id", metavar="ID")
    retry = actions.add("retry", _retry, "Retry one now.")
    retry.add_argument("id", metavar="ID")
    _add_filters(actions.add("retry-all", _retry_all, "Retry all that match; without a filter, all."))
    discard = actions.add(
        "discard", _discard, "Discard one that surely never reached the gateway. Its transaction becomes failed."
    )
    discard.add_argument("id", metavar="ID")
    add_reason(discard)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gateway", metavar="NAME")
    parser.add_argument("--state", metavar="STATE", help="waiting (for its next attempt) or parked (for an operator)")


def _values(it: Json) -> Iterator[tuple[str, str]]:
    for name in ("id", "transaction_id", "gateway", "action", "event_type", "state", "attempts"):
        yield name, shown(it[name])
    yield "next_attempt_at", at(it["next_attempt_at"])
    yield "created_at", at(it["created_at"])
    for error in it["errors"]:
        yield f"error {at(error['at'])}", shown(error["error"])


def _list(tools: Tools, arguments: argparse.Namespace) -> None:
    where = {"gateway": arguments.gateway, "state": arguments.state}
    tools.output.listing(_COLUMNS, tools.client.pages("dead-letters", at_most=arguments.limit, **where))


def _show(tools: Tools, arguments: argparse.Namespace) -> None:
    it = tools.client.get("dead-letters", arguments.id, members=("id", "errors"))
    tools.output.thing(it, _values(it))


def _retry(tools: Tools, arguments: argparse.Namespace) -> None:
    it = tools.client.send(
        *("dead-letters", arguments.id, "retry"),
        members=("id",),
        how_to_check=f"See: manage.py dead-letters show {argument(arguments.id)}. A repetition is safe.",
    )
    tools.output.line(it, f"tried again: {shown(it['id'])}")


def _retry_all(tools: Tools, arguments: argparse.Namespace) -> None:
    given = {"gateway": arguments.gateway, "state": arguments.state}
    where = {name: value for name, value in given.items() if value is not None}
    it = tools.client.send(
        *("dead-letters", "retry"),
        body=where,
        members=("count",),
        how_to_check="See: manage.py dead-letters list. A repetition is safe.",
    )
    tools.output.line(it, f"tried again: {shown(it['count'])}")


def _discard(tools: Tools, arguments: argparse.Namespace) -> None:
    it = tools.client.send(
        *("dead-letters", arguments.id, "discard"),
        body={"reason": arguments.reason},
        members=("transaction_id", "status"),
        how_to_check=f"See: manage.py dead-letters show {argument(arguments.id)}. A discarded one is gone.",
    )
    tools.output.thing(it, transactions.values(it))

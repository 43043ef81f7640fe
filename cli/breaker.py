"""``manage.py breaker``: show the gateways' circuit breakers, and force one open or closed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import Final

from cli.actions import Actions, Tools, add_reason, run
from cli.client import Json
from cli.output import Column, Columns
from cli.text import argument, at, shown

__all__ = ["add_arguments", "run"]

_MODES: Final = {
    "open": "Stop all calls to the gateway until the mode is changed, over restarts. Its work waits.",
    "closed": "Allow all calls to the gateway until the mode is changed, over restarts, whatever fails.",
    "auto": "Return the breaker to normal operation.",
}
_COLUMNS: Final[Columns] = {
    "GATEWAY": Column(lambda it: shown(it["name"]), is_whole=True),
    "BREAKER": Column(lambda it: shown(it["breaker"]["state"])),
    "MODE": Column(lambda it: shown(it["breaker"]["mode"])),
    "ERRORS": Column(lambda it: shown(f"{it['breaker']['error_percent']} % of {it['breaker']['requests']}")),
    "REOPENS": Column(lambda it: at(it["breaker"]["reopens_at"]), is_optional=True),
    "IN FLIGHT": Column(lambda it: shown(f"{it['bulkhead']['in_flight']} of {it['bulkhead']['max_concurrent']}")),
    "WAITING": Column(lambda it: shown(it["bulkhead"]["waiting"])),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare show (the default), open, closed, auto."""
    actions = Actions(parser, default=_show)
    parser.set_defaults(gateway=None)
    show = actions.add("show", _show, "Show all gateways, or one.")
    show.add_argument("gateway", nargs="?", metavar="GATEWAY")
    for mode, text in _MODES.items():
        action = actions.add(mode, partial(_set_mode, mode), text)
        action.add_argument("gateway", metavar="GATEWAY")
        add_reason(action)


def _show(tools: Tools, arguments: argparse.Namespace) -> None:
    if arguments.gateway is None:
        tools.output.listing(_COLUMNS, tools.client.pages("gateways", at_most=None))
    else:
        it = tools.client.get("gateways", arguments.gateway, members=("name", "breaker", "bulkhead"))
        tools.output.thing(it, _values(it))


def _set_mode(mode: str, tools: Tools, arguments: argparse.Namespace) -> None:
    wanted = {"mode": mode, "reason": arguments.reason}
    it = tools.client.send(
        *("gateways", arguments.gateway, "breaker"),
        body=wanted,
        members=("name", "breaker", "bulkhead"),
        how_to_check=f"See: manage.py breaker show {argument(arguments.gateway)}. A repetition is safe.",
    )
    tools.output.thing(it, _values(it))


def _values(it: Json) -> Iterator[tuple[str, str]]:
    yield "gateway", shown(it["name"])
    yield "adapter", shown(it["adapter"])
    yield "currencies", shown(it["currencies"])
    for name in ("state", "mode", "error_percent", "requests"):
        yield name, shown(it["breaker"][name])
    yield "opened_at", at(it["breaker"]["opened_at"])
    yield "reopens_at", at(it["breaker"]["reopens_at"])
    for name in ("in_flight", "waiting", "max_concurrent"):
        yield name, shown(it["bulkhead"][name])

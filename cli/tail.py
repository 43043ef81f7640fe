"""``manage.py tail``: every event as it happens, each once, across restarts of the service.

Where API keys are required, events have a cursor in place of a position. This module interprets neither.
"""

from __future__ import annotations

import argparse
import re
import shlex
import time
from typing import Final

from cli.actions import Tools, add_common, run
from cli.client import PAGE_MAX, Json
from cli.command import CommandError, Exit, remark
from cli.text import NOTHING, at, printable, shown

__all__ = ["add_arguments", "run"]

_WAIT_S: Final = 20.0
_BACKOFF_FIRST_S: Final = 0.25
_BACKOFF_MAX_S: Final = 10.0
_PLACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_POSITION_UNKNOWN: Final = "position-unknown"
_SPLITTING: Final = re.compile(r"""[\s'"\\]|^$""")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the start and the filters."""
    add_common(parser, _follow)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--after",
        type=_place,
        metavar="POSITION",
        help="continue after this event: its position, or its cursor where API keys are required (default: now)",
    )
    begin.add_argument("--from-start", action="store_true", help="begin with the first event")
    parser.add_argument("--customer", metavar="ID", help="only events of this customer")
    parser.add_argument(
        "--type", action="append", metavar="TYPE", help="only events of this type, such as DepositFailed; repeatable"
    )


def _follow(tools: Tools, arguments: argparse.Namespace) -> None:
    after = arguments.after
    if after is None and not arguments.from_start:
        after = tools.client.get("events", after="latest")["next_cursor"]
    wait = f"{min(_WAIT_S, arguments.timeout_s / 2):.3f}"  # so that an empty answer arrives before the timeout
    backoff_s = 0.0
    while True:
        try:
            page = tools.client.get("events", after=after, limit=PAGE_MAX, wait=wait)
        except CommandError as error:
            if error.problem == _POSITION_UNKNOWN:
                raise CommandError(_position_unknown(after), error.status) from error
            if error.status is not Exit.UNREACHABLE:
                raise
            if not backoff_s:
                remark(f"{error}; trying again")
            backoff_s = min(2 * backoff_s or _BACKOFF_FIRST_S, _BACKOFF_MAX_S)
            time.sleep(backoff_s)
            continue
        if backoff_s:
            remark(f"connected again; continuing after position {after if after is not None else 0}")
            backoff_s = 0.0
        for event in page["items"]:
            if _is_wanted(event, arguments):
                tools.output.line(event, _line(event))
            after = _place_of(event)


def _place_of(event: Json) -> str:
    return str(event["position"] if "position" in event else event["cursor"])


def _position_unknown(after: str | None) -> str:
    return (
        f"position {after} is unknown: the database was restored to an earlier state, or is another one."
        " Events that were shown before may no longer be on record. Begin again with --from-start, or without --after"
    )


def _is_wanted(event: Json, arguments: argparse.Namespace) -> bool:
    if arguments.customer is not None and event["stream_id"] != arguments.customer:
        return False
    return arguments.type is None or event["type"] in arguments.type


def _line(event: Json) -> str:
    stream = f"{shown(event['stream_name'])}/{shown(event['stream_id'])}"
    prefix = f"{at(event['occurred_at'])}  {shown(_place_of(event))}  {stream}  {shown(event['version'])}"
    data = " ".join(f"{printable(name)}={_quoted(shown(value))}" for name, value in event["data"].items())
    return f"{prefix}  {shown(event['type'])}  {data or NOTHING}"


def _quoted(text: str) -> str:
    """Quoted as for a shell, where the value would otherwise split."""
    return shlex.quote(text) if _SPLITTING.search(text) else text


def _place(text: str) -> str:
    if _PLACE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"not a position: {text!r}")
    return text

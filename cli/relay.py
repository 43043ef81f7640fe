"""``manage.py relay``: show the relays in the store, publish events again, and skip one; a service may run."""

from __future__ import annotations

import argparse
import getpass
import json
from datetime import UTC, datetime
from typing import Final

from cli import relay_status
from cli.client import Json
from cli.command import CommandError, Exit, OutputError, service_settings, write
from cli.text import printable
from config import logging
from config.settings import CHECKOUT
from messaging.relay import RELAY_OF_EVENTS
from store.backends import backend_of
from store.errors import CommitUncertainError, StoreError
from store.event_json import POSITIONS_APART, position_on_wire
from store.port import Feed
from store.relays import MoveRefusedError, RelayDesk, rewind, skip

_REASON_MAX: Final = 500
_EPILOG: Final = """\
Positions are those of GET /v1/events. Each rewind and skip is recorded with your login name, and status shows the
newest ones. The relay continues from the new position within seconds, without a restart.

exit status:
  0    done
  1    the position is refused, or the store failed; standard error has the reason. Of status also: no relay leads, one
       stays before a refused event, or the lag is above --lag-max; standard output has the reason
  2    an argument or a setting is wrong
  3    the position was set, or may have been, and the result cannot be shown: check with status
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands status, rewind and skip."""
    parser.epilog, parser.formatter_class = _EPILOG, argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="relay_command", required=True, metavar="COMMAND")
    status = commands.add_parser(
        "status",
        help="show leader, position, lag and refused event of each relay",
        description="Show leader, position, lag and refused event of each relay, and what operators did. Status 1 means"
        " that the events are not being published; --json has the reasons in problems.",
    )
    relay_status.add_arguments(status)
    again = commands.add_parser(
        "rewind",
        help="publish all events after a position again",
        description="Publish all events after a position again. Consumers get them a second time.",
    )
    again.add_argument("position", type=_position, metavar="POSITION", help="0 is before the first event")
    leave = commands.add_parser(
        "skip",
        help="leave out the event that the broker refuses",
        description="Leave out the next event, which the broker refuses. No consumer will get it: tell them.",
    )
    leave.add_argument("position", type=_position, metavar="POSITION", help="that of the event, as status shows it")
    for command, needed in ((again, False), (leave, True)):
        command.add_argument("--reason", required=needed, default="", type=_reason, help="a note for the record")
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="for scripts: one JSON object per line")


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Returns 1 when the position is refused."""
    settings = service_settings(logging.STDERR)
    try:
        with backend_of(settings.migration_database_url, root=CHECKOUT).relay_desk(clock=_now) as desk:
            return _COMMANDS[arguments.relay_command](desk, arguments)
    except CommitUncertainError as error:
        raise CommandError(f"the position may have been set: {error}", Exit.UNKNOWN) from error
    except StoreError as error:
        raise CommandError(str(error)) from error


def _rewind(desk: RelayDesk, arguments: argparse.Namespace) -> int:
    feed = desk.feed()
    position = _in_store(arguments.position, feed)
    before = rewind(desk, RELAY_OF_EVENTS, position, who=_who(), reason=arguments.reason)
    from_, to = position_on_wire(feed.generation, before.position), position_on_wire(feed.generation, position)
    done: Json = {"relay": RELAY_OF_EVENTS, "from_position": from_, "to_position": to}
    return _tell(done, f"events after position {to} are published again, up to {from_}", arguments)


def _skip(desk: RelayDesk, arguments: argparse.Namespace) -> int:
    feed = desk.feed()
    event = skip(desk, RELAY_OF_EVENTS, _in_store(arguments.position, feed), who=_who(), reason=arguments.reason)
    position = position_on_wire(feed.generation, event.position)
    done: Json = {"relay": RELAY_OF_EVENTS, "position": position, "event_id": event.event_id, "type": event.type}
    return _tell(done, f"the {event.type} at position {position} is left out (event {event.event_id})", arguments)


_COMMANDS: Final = {"status": relay_status.run, "rewind": _rewind, "skip": _skip}


def _tell(done: Json, line: str, arguments: argparse.Namespace) -> int:
    try:
        write(f"{json.dumps(done) if arguments.json else printable(line)}\n")
    except OutputError as error:
        raise CommandError(f"{line}, but {error}", Exit.UNKNOWN) from error
    return Exit.DONE


def _in_store(on_wire: int, feed: Feed) -> int:
    """The store's position. Raises MoveRefusedError for one of another generation."""
    generation, position = divmod(on_wire, POSITIONS_APART)
    if on_wire and generation != feed.generation:
        raise MoveRefusedError(
            f"position {on_wire} is of generation {generation}, and the database is in generation {feed.generation}"
        )
    return position


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        return "unknown"


def _now() -> datetime:
    return datetime.now(UTC)


def _position(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"not a position: {text!a}")
    return int(text)


def _reason(text: str) -> str:
    if len(text) > _REASON_MAX or not text.isprintable():
        raise argparse.ArgumentTypeError(f"not up to {_REASON_MAX} printable characters")
    return text

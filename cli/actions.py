"""Commands that call a running service: their actions, their common options, and their execution."""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from api.patterns import IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_LENGTH_MAX
from cli.client import Client
from cli.command import CommandError, Exit, OutputError, remark
from cli.output import Output
from config.client import ClientSettings

LIMIT_DEFAULT: Final = 50
TIMEOUT_DEFAULT_S: Final = 30.0
"""More than the default of the service's own deadline for a command (PAYMENTS_REQUEST_DEADLINE_S)."""
_TIMEOUT_MAX_S: Final = 3600.0
_EPILOG: Final = """\
environment:
  PAYMENTS_URL      URL of the service; default http://<PAYMENTS_BIND>
  PAYMENTS_API_KEY  sent as Authorization: Bearer; not an option, since other users can see command lines

exit status:
  0    done
  1    the service refused it, or the output cannot be written; standard error has the reason
  2    an argument or a setting is wrong
  3    the command may have been carried out, or its answer cannot be written; standard error describes how to
       find out. Answers that do not come from the service itself, such as a proxy's 503, have this status
  4    the service cannot be reached, or answers that it cannot do it now; nothing was done
  130  Ctrl-C; a command that was sent may have been carried out
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """The collaborators of an action."""

    client: Client
    output: Output


Action = Callable[[Tools, argparse.Namespace], None]
"""Carries out one action with its arguments. Raises CommandError."""


class Actions:
    """The actions of one command. ``default`` is the action of the command without one."""

    def __init__(self, parser: argparse.ArgumentParser, default: Action | None = None) -> None:
        self._has_default = default is not None
        if default is not None:
            add_common(parser, default)
        _explain(parser)
        self._subparsers = parser.add_subparsers(dest="action", required=default is None, metavar="ACTION")

    def add(self, name: str, act: Action, text: str) -> argparse.ArgumentParser:
        """Add an action with the common options; returns its parser for further ones."""
        parser = self._subparsers.add_parser(name, help=text, description=text)
        add_common(parser, act, is_below=self._has_default)
        return parser


def add_common(parser: argparse.ArgumentParser, act: Action, *, is_below: bool = False) -> None:
    """Add ``act`` and the common options to ``parser``.

    ``is_below``: the parent parser has the options too, and its values apply unless they are repeated here.
    """
    _explain(parser)
    parser.set_defaults(act=act)
    as_json, url, timeout_s = (argparse.SUPPRESS,) * 3 if is_below else (False, None, TIMEOUT_DEFAULT_S)
    parser.add_argument(
        "--json", dest="as_json", action="store_true", default=as_json,
        help="one JSON object per line, as the API returns it",
    )  # fmt: skip
    parser.add_argument("--url", metavar="URL", default=url, help="URL of the service (default: PAYMENTS_URL)")
    parser.add_argument(
        "--timeout", dest="timeout_s", type=_seconds, metavar="SECONDS", default=timeout_s,
        help=f"total time per request (default: {TIMEOUT_DEFAULT_S:g})",
    )  # fmt: skip


def add_listing(parser: argparse.ArgumentParser) -> None:
    """Add the options for the length of a list."""
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--limit", type=_count, metavar="N", default=LIMIT_DEFAULT, help="(default: %(default)d)")
    wanted.add_argument("--all", dest="limit", action="store_const", const=None, help="the whole list")


def add_reason(parser: argparse.ArgumentParser, *, evidence: bool = False) -> None:
    """Add the required reason, and the evidence, of an operator command."""
    parser.add_argument("--reason", required=True, metavar="TEXT", help="the reason, for the record")
    if evidence:
        parser.add_argument(
            "--evidence", required=True, metavar="TEXT", help="the evidence, such as a statement or a ticket"
        )


def add_key(parser: argparse.ArgumentParser) -> None:
    """Add the idempotency key of a command that moves money."""
    parser.add_argument(
        "--idempotency-key",
        metavar="KEY",
        type=_key,
        help="sent again with the same key, the command is carried out once (default: a new key, which is printed)",
    )


def key_of(arguments: argparse.Namespace) -> str:
    """The idempotency key that was given, or a new one."""
    given: str | None = arguments.idempotency_key
    if given is not None:
        return given
    key = str(uuid.uuid4())
    remark(f"idempotency key: {key}")  # before it is sent, so that the command can always be repeated safely
    return key


def run(arguments: argparse.Namespace) -> int:
    """Carry out the action. Raises CommandError and SettingsError."""
    settings = ClientSettings.from_environ(os.environ, url=arguments.url)
    act: Action = arguments.act
    client = Client(settings, timeout_s=arguments.timeout_s)
    try:
        act(Tools(client, Output(as_json=arguments.as_json)), arguments)
    except OutputError as error:
        if client.has_sent:
            raise CommandError(f"the command was carried out, but {error}", Exit.UNKNOWN) from error
        raise
    return Exit.DONE


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"not a number of items: {text!r}")
    return int(text)


def _key(text: str) -> str:
    if IDEMPOTENCY_KEY.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"not 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} visible ASCII characters: {text!a}")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _TIMEOUT_MAX_S:
        raise argparse.ArgumentTypeError(f"not a number of seconds up to {_TIMEOUT_MAX_S:g}: {text!r}")
    return seconds

"""``manage.py keys``: create, list and revoke API keys in the store; a service may run."""

from __future__ import annotations

import argparse
import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from marshmallow import ValidationError

from api.fields import Timestamp
from api.keys import id_in, make_key
from api.patterns import MERCHANT
from cli.client import Json
from cli.command import CommandError, Exit, OutputError, remark, service_settings, write
from cli.output import Column, Columns, Output
from cli.text import at, shown
from config import logging
from config.settings import CHECKOUT
from store.backends import backend_of
from store.codec import timestamp
from store.errors import StoreError
from store.keys import Keyring, ListedKey, NewKey, Scope, scopes_text

_FOR: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LABEL_MAX: Final = 200
_COLUMNS: Final[Columns] = {
    "KEY": Column(lambda it: shown(it["key_id"]), is_whole=True),
    "MERCHANT": Column(lambda it: shown(it["merchant"])),
    "SCOPES": Column(lambda it: shown(it["scopes"])),
    "STATE": Column(lambda it: shown(it["state"]), is_whole=True),
    "EXPIRES": Column(lambda it: at(it["expires_at"]), is_optional=True),
    "LABEL": Column(lambda it: shown(it["label"] or None), is_optional=True),
}


_EPILOG: Final = """\
exit status:
  0    done
  1    there is no such key, a new key cannot be shown, or the store failed; standard error has the reason
  2    an argument or a setting is wrong
  3    the key is revoked, but standard output cannot be written
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands create, list and revoke."""
    parser.epilog, parser.formatter_class = _EPILOG, argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="keys_command", required=True, metavar="COMMAND")
    create = commands.add_parser(
        "create",
        help="create a key and show it once",
        description="Create a key and show it once: only its digest is stored. A merchant may have any number of live"
        " keys, so a new one can be distributed before the old one is revoked.",
    )
    create.add_argument(
        "--merchant",
        required=True,
        type=_merchant,
        help="the merchant whose data the key can reach",
    )
    create.add_argument(
        "--scope",
        "--scopes",
        dest="scopes",
        required=True,
        action="extend",
        type=_scopes,
        metavar="SCOPE",
        help=f"the scopes of the key: {', '.join(Scope)}; separate several by commas, or repeat the argument",
    )
    create.add_argument("--label", default="", type=_label, help="a note for operators, such as its user")
    until = create.add_mutually_exclusive_group()
    until.add_argument(
        "--expires-in",
        type=_duration,
        metavar="TIME",
        help="90d, 12h, 30m or 45s; default: never",
    )
    until.add_argument("--expires-at", type=_instant, metavar="TIME", help="such as 2027-01-31T00:00:00Z")
    listing = commands.add_parser(
        "list",
        help="list all keys, revoked and expired ones included",
        description="List all keys, revoked and expired ones included.",
    )
    listing.add_argument("--merchant", type=_merchant, help="list only keys of this merchant")
    revoke = commands.add_parser(
        "revoke",
        help="revoke a key; it takes effect everywhere within a second",
        description="Revoke a key. It takes effect everywhere within a second. Repeating the command does no harm.",
    )
    revoke.add_argument("key_id", type=_key_id, metavar="ID", help="the 13 characters after pgw_")
    for command in (create, listing, revoke):
        command.add_argument("--json", action="store_true", help="for scripts: one JSON object per line")


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Returns 1 when there is no such key."""
    settings = service_settings(logging.STDERR)
    try:
        with backend_of(settings.migration_database_url, root=CHECKOUT).keyring(clock=_now) as keyring:
            return _COMMANDS[arguments.keys_command](keyring, arguments)
    except StoreError as error:
        raise CommandError(str(error)) from error


def _create(keyring: Keyring, arguments: argparse.Namespace) -> int:
    text, presented = make_key(os.urandom)
    expires_at: datetime | None = arguments.expires_at
    if arguments.expires_in is not None:
        expires_at = _now() + arguments.expires_in
    key = NewKey(*presented, arguments.merchant, frozenset(arguments.scopes), arguments.label, expires_at)
    made = keyring.add(key)
    if not arguments.json:
        remark("Store the key safely: it is shown only once.")
    try:
        write(f"{json.dumps({'key': text, **_shown(made)}) if arguments.json else text}\n")
    except OutputError as error:
        _revoke_unshown(keyring, made.key_id, error)
    return Exit.DONE


def _revoke_unshown(keyring: Keyring, key_id: str, error: OutputError) -> NoReturn:
    """Revoke a key that could not be shown: a part of it may have been written."""
    try:
        keyring.revoke(key_id)
    except StoreError as refusal:
        text = f"{key_id} could not be shown ({error}), and is still live, because it could not be revoked: {refusal}"
        raise CommandError(text) from refusal
    raise CommandError(f"{key_id} is revoked, because it could not be shown: {error}") from error


def _list(keyring: Keyring, arguments: argparse.Namespace) -> int:
    keys = [_shown(key) for key in keyring.list(arguments.merchant)]
    Output(as_json=arguments.json).listing(_COLUMNS, [(keys, False)])
    return Exit.DONE


def _revoke(keyring: Keyring, arguments: argparse.Namespace) -> int:
    if not keyring.revoke(arguments.key_id):
        raise CommandError(f"there is no API key {arguments.key_id}")
    revoked = {"key_id": arguments.key_id, "state": "revoked"}
    try:
        write(f"{json.dumps(revoked) if arguments.json else f'{arguments.key_id} is revoked'}\n")
    except OutputError as error:
        raise CommandError(f"{arguments.key_id} is revoked, but {error}", Exit.UNKNOWN) from error
    return Exit.DONE


_COMMANDS: Final = {"create": _create, "list": _list, "revoke": _revoke}


def _shown(key: ListedKey) -> Json:
    expired = key.expires_at is not None and key.expires_at <= _now()
    return {
        "key_id": key.key_id,
        "merchant": key.merchant,
        "scopes": scopes_text(key.scopes),
        "label": key.label,
        "state": "revoked" if key.revoked_at is not None else "expired" if expired else "live",
        "created_at": timestamp(key.created_at),
        "expires_at": None if key.expires_at is None else timestamp(key.expires_at),
        "revoked_at": None if key.revoked_at is None else timestamp(key.revoked_at),
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _merchant(text: str) -> str:
    if MERCHANT.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"not 1 to 64 of A-Z a-z 0-9 . _ - and not gateways: {text!a}")
    return text


def _scopes(text: str) -> list[Scope]:
    try:
        return [Scope(word) for word in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; there are {', '.join(Scope)}") from None


def _key_id(text: str) -> str:
    # An operator who revokes a leaked key may paste all of it. The error does not repeat the text: it may be a secret.
    key_id = id_in(text)
    if key_id is None:
        raise argparse.ArgumentTypeError("not the id of an API key, the 13 characters after pgw_")
    return key_id


def _label(text: str) -> str:
    if len(text) > _LABEL_MAX or not text.isprintable():
        raise argparse.ArgumentTypeError(f"not up to {_LABEL_MAX} printable characters")
    return text


def _duration(text: str) -> timedelta:
    parts = _FOR.fullmatch(text)
    if parts is None:
        raise argparse.ArgumentTypeError(f"not a time such as 90d, 12h, 30m or 45s: {text!a}")
    return timedelta(**{_UNITS[parts[2]]: int(parts[1])})


def _instant(text: str) -> datetime:
    try:
        at = Timestamp().deserialize(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"not an RFC 3339 time such as 2027-01-31T00:00:00Z: {text!a}") from None
    if at <= _now():
        raise argparse.ArgumentTypeError(f"is in the past: {text!a}")
    return at

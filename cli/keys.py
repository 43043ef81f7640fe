"""Make, list and revoke the API keys of callers; works on the store, whether or not a service runs."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from api.callers import MERCHANT
from api.keys import PREFIX, make_key
from config import logging
from config.settings import CHECKOUT, Settings
from store.codec import timestamp
from store.factory import open_keyring
from store.keys import ListedKey, NewKey, Scope
from store.port import GATEWAYS

_FOR: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_ID_IN: Final = re.compile(rf"(?:{PREFIX}_)?([0-9a-f]{{16}})(?:_.*)?")
_LABEL_MAX: Final = 200


class Arguments(argparse.Namespace):
    """What stands on the command line."""

    order: str
    merchant: str | None
    scopes: list[Scope]
    label: str
    expires_in: timedelta | None
    expires_at: datetime | None
    key_id: str
    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``run`` takes."""
    orders = parser.add_subparsers(dest="order", required=True, metavar="ORDER")
    create = orders.add_parser(
        "create",
        help="make a key, and show it this once",
        description="Make a key, and show it this once: only a digest of it is kept. Any number of a merchant's keys"
        " are live at once, so a new one can be handed out before the old one is revoked.",
    )
    create.add_argument("--merchant", required=True, type=_merchant, help="whose customers and transactions it sees")
    create.add_argument(
        "--scope",
        "--scopes",
        dest="scopes",
        required=True,
        action="extend",
        type=_scopes,
        metavar="SCOPE",
        help=f"what it permits: {', '.join(Scope)}; several with commas, or this argument again",
    )
    create.add_argument("--label", default="", type=_label, help="for people, as who has it")
    until = create.add_mutually_exclusive_group()
    until.add_argument("--expires-in", type=_duration, metavar="TIME", help="such as 90d, 12h, 30m or 45s; else never")
    until.add_argument("--expires-at", type=_instant, metavar="TIME", help="such as 2027-01-31T00:00:00Z")
    listing = orders.add_parser("list", help="all keys, revoked and expired ones as well", description="All keys.")
    listing.add_argument("--merchant", help="only this merchant's")
    revoke = orders.add_parser(
        "revoke",
        help="make a key useless, everywhere within a second",
        description="Make a key useless, everywhere within a second. Twice does no harm.",
    )
    revoke.add_argument("key_id", type=_key_id, metavar="ID", help="the 16 digits after pgw_")
    for order in (create, listing, revoke):
        order.add_argument("--json", action="store_true", help="for scripts: one object on a line")


def run(arguments: Arguments) -> int:
    """Carry the order out. Exit status 1: there is no such key. Raises StoreError and SettingsError."""
    settings = Settings.from_environ(os.environ)
    logging.configure(settings.log_level, settings.log_format, logging.STDERR)
    with open_keyring(settings.migration_database_url, root=CHECKOUT, clock=_now) as keyring:
        if arguments.order == "create":
            text, presented = make_key(os.urandom)
            expires_at = arguments.expires_at
            if arguments.expires_in is not None:
                expires_at = _now() + arguments.expires_in
            assert arguments.merchant is not None
            scopes = frozenset(arguments.scopes)
            keyring.add(NewKey(*presented, arguments.merchant, scopes, arguments.label, expires_at))
            made = next(key for key in keyring.list(arguments.merchant) if key.key_id == presented.key_id)
            _print_made(text, made, as_json=arguments.json)
            return 0
        if arguments.order == "list":
            _print_list(list(keyring.list(arguments.merchant)), as_json=arguments.json)
            return 0
        if not keyring.revoke(arguments.key_id):
            sys.stderr.write(f"there is no API key {arguments.key_id!a}\n")
            return 1
        said = json.dumps({"key_id": arguments.key_id, "state": "revoked"}) if arguments.json else "revoked"
        sys.stdout.write(f"{said}\n")
        return 0


def _print_made(text: str, key: ListedKey, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(f"{json.dumps({'key': text, **_shown(key)})}\n")
        return
    sys.stderr.write("Keep it well: it is shown this once.\n")
    sys.stdout.write(f"{text}\n")


def _print_list(keys: list[ListedKey], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.writelines(f"{json.dumps(_shown(key))}\n" for key in keys)
        return
    names = ("key_id", "merchant", "scopes", "state", "expires_at", "label")
    rows = [names, *([str(_shown(key)[name] or "") for name in names] for key in keys)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        sys.stdout.write(f"{line}\n")


def _shown(key: ListedKey) -> dict[str, Any]:
    expired = key.expires_at is not None and key.expires_at <= _now()
    return {
        "key_id": key.key_id,
        "merchant": key.merchant,
        "scopes": " ".join(scope for scope in Scope if scope in key.scopes),
        "label": key.label,
        "state": "revoked" if key.revoked_at is not None else "expired" if expired else "live",
        "created_at": timestamp(key.created_at),
        "expires_at": None if key.expires_at is None else timestamp(key.expires_at),
        "revoked_at": None if key.revoked_at is None else timestamp(key.revoked_at),
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _merchant(text: str) -> str:
    if MERCHANT.fullmatch(text) is None or text == GATEWAYS:
        raise argparse.ArgumentTypeError(f"not 1 to 64 of A-Z a-z 0-9 . _ - and not {GATEWAYS}: {text!a}")
    return text


def _scopes(text: str) -> list[Scope]:
    try:
        return [Scope(word) for word in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; there are {', '.join(Scope)}") from None


def _key_id(text: str) -> str:
    # Whoever has a key that leaked has all of it. What was typed instead of one is not repeated: it may be another.
    parts = _ID_IN.fullmatch(text)
    if parts is None:
        raise argparse.ArgumentTypeError("not the id of an API key, which is 16 hexadecimal digits")
    return parts[1]


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
    at: datetime | None = None
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
    if at is None or at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"not an RFC 3339 time such as 2027-01-31T00:00:00Z: {text!a}")
    if at <= _now():
        raise argparse.ArgumentTypeError(f"is over: {text!a}")
    return at.astimezone(UTC)

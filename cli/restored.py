"""``manage.py restored``: mark a restored database, and list what to compare with the providers."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

from cli.command import CommandError, Exit, service_settings, write
from cli.text import printable
from config import logging
from config.settings import CHECKOUT
from domain.money import minor_to_text
from store.backends import backend_of
from store.codec import read_body, timestamp
from store.errors import StoreError
from store.restored import OpenTransaction, Restored

_EPILOG: Final = """\
No payment is made twice: unfinished transactions are looked up at their providers, or repeated under their idempotency
keys. The generation goes up by one: earlier positions and cursors get 410, and consumers begin again. After a second
restore of the same backup, give --generation a number above all that consumers have seen.

On PostgreSQL the service does the same automatically when the server's system identifier or timeline has changed. Run
this command after the restore of a dump on the same server, or of a disk. It needs the role that owns the tables
(PAYMENTS_MIGRATION_DATABASE_URL).

exit status:
  0    the database is marked
  1    a service runs, or the database does not answer; nothing was done
  2    an argument or a setting is wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the output format and the lowest generation to begin."""
    parser.add_argument("--json", action="store_true", help="one JSON object, with every unfinished transaction")
    parser.add_argument(
        "--generation",
        type=_generation,
        default=0,
        metavar="NUMBER",
        help="the lowest generation to begin",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Mark the database, and list what to compare."""
    settings = service_settings(logging.STDERR)
    try:
        with backend_of(settings.migration_database_url, root=CHECKOUT).restore(now=datetime.now(UTC)) as restoring:
            restored = restoring.mark(arguments.generation)
    except StoreError as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        write(f"{json.dumps(_document(restored))}\n")
    else:
        write("".join(f"{printable(line)}\n" for line in _lines(restored)))
    return Exit.DONE


def _document(it: Restored) -> dict[str, Any]:
    return {
        "generation": it.generation,
        "newest_event": None if it.newest is None else {"event_id": it.newest.event_id, "occurred_at": _newest_at(it)},
        "unfinished": [
            {
                "transaction_id": one.transaction_id,
                "merchant": one.stream.name,
                "customer_id": one.stream.id,
                "type": one.kind,
                "gateway": one.gateway,
                "amount": minor_to_text(one.amount_minor, one.currency),
                "currency": one.currency,
                "status": one.status,
                "created_at": timestamp(one.created_at),
            }
            for one in it.unfinished
        ],
    }


def _lines(it: Restored) -> list[str]:
    newest_at = _newest_at(it)
    lines = [f"generation {it.generation}: all unfinished work counts as possibly sent"]
    lines.append(f"newest event: {newest_at}" if newest_at else "newest event: none")
    by_gateway = [(gateway, list(ones)) for gateway, ones in groupby(it.unfinished, key=lambda one: one.gateway)]
    for gateway, ones in by_gateway:
        lines.append(f"{gateway}: {len(ones)} unfinished, since {timestamp(min(map(_created_at, ones)))}")
    if not by_gateway:
        lines.append("no transaction is unfinished")
    since = newest_at or "the beginning"
    return [
        *lines,
        "compare with each provider:",
        f"  - its ledger since {since}: a reference that is not on record here was acknowledged and lost",
        f"  - its callbacks since {since}: request that it sends them again",
        "  - the unfinished transactions: lookups begin with the service; resolve those that stay unknown",
        "inform consumers of events: their positions get 410 (position-unknown), and they begin again",
    ]


def _created_at(one: OpenTransaction) -> datetime:
    return one.created_at


def _newest_at(it: Restored) -> str | None:
    return None if it.newest is None else timestamp(read_body(it.newest.body).occurred_at)


def _generation(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**13):
        raise argparse.ArgumentTypeError(f"not a generation from 1 to {2**13 - 1}: {text!r}")
    return int(text)

"""``manage.py migrate``: the tables, as the role that owns them."""

from __future__ import annotations

import argparse

from cli.command import CommandError, say, service_settings
from config import logging
from config.settings import CHECKOUT
from store.errors import StoreError
from store.factory import migrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""
    del parser


def run(_arguments: argparse.Namespace) -> int:
    """Create the database's tables, or bring them to this version."""
    settings = service_settings(logging.STDERR)
    try:
        applied = migrate(settings.migration_database_url, root=CHECKOUT)
    except StoreError as error:
        raise CommandError(str(error)) from error
    say(f"migrations applied: {', '.join(map(str, applied)) or 'none, all were there'}")
    if settings.sqlite_path is None and settings.migration_database_url == settings.database_url:
        say(
            "warning: the service's role owns the tables, and so may change and delete events; a role with the least"
            " rights may not (deploy/roles.sql makes both; PAYMENTS_MIGRATION_DATABASE_URL)"
        )
    return 0

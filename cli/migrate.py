"""``manage.py migrate``: create or update the tables, as the role that owns them."""

from __future__ import annotations

import argparse

from cli.command import CommandError, say, service_settings
from cli.text import printable
from config import logging
from config.settings import CHECKOUT
from store.backends import backend_of
from store.errors import StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the command has no arguments."""
    del parser


def run(_arguments: argparse.Namespace) -> int:
    """Create the database's tables, or bring them to this version."""
    settings = service_settings(logging.STDERR)
    try:
        backend = backend_of(settings.migration_database_url, root=CHECKOUT)
        result = backend.migrate()
    except StoreError as error:
        raise CommandError(printable(str(error))) from error
    say(f"migrations applied: {', '.join(map(str, result.applied)) or 'none, all are present'}")
    if result.functions_defined:
        say("functions defined: those of this version")
    if backend.has_roles and settings.migration_database_url == settings.database_url:
        say(
            "warning: the service's role owns the tables, and so may change and delete events; a role with the least"
            " rights may not (deploy/roles.sql creates both; PAYMENTS_MIGRATION_DATABASE_URL)"
        )
    return 0

"""The server that the tests share: the one that the environment names, else a local one, else an embedded one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.postgresql.embedded import answers, embedded_server

VARIABLE: Final = "PAYMENTS_TEST_DATABASE_URL"
LOCAL_URL: Final = "postgresql://postgres@127.0.0.1:5432/postgres"


@contextmanager
def shared_server() -> Iterator[str]:
    """The URL of a server that answers. Raises psycopg.OperationalError when the one of the environment does not."""
    named = os.environ.get(VARIABLE)
    if named:
        psycopg.connect(named, connect_timeout=5).close()
        yield named
    elif answers(LOCAL_URL):
        yield LOCAL_URL
    else:
        with embedded_server(durable=False) as server:
            yield server.url()


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database of the server at ``server_url``; it is gone after the block."""
    name = f"payments_test_{uuid.uuid4().hex}"
    identifier = sql.Identifier(name)
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))

"""Escaping and formatting of foreign text (reasons, messages, names) for output."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

NOTHING: Final = "-"


def printable(text: str) -> str:
    """``text`` on one line, with all unprintable characters escaped.

    Control characters could move the cursor or forge lines, and direction marks could reorder the text.
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def shown(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """A JSON value as text: a dash for null; the values of lists and objects separated by spaces."""
    if value is None or value in ([], {}):
        return NOTHING
    if isinstance(value, dict):
        return printable(" ".join(f"{key}={shown(each)}" for key, each in value.items()))
    if isinstance(value, list):
        return " ".join(map(shown, value))
    return printable(str(value))


def argument(text: str) -> str:
    """``text`` quoted for a shell, for commands that the operator copies."""
    return shlex.quote(printable(text))


def at(time: str | None) -> str:
    """A time of the API to the second, with a space between date and time."""
    return NOTHING if time is None else printable(f"{time[:10]} {time[11:19]}Z")


def without_password(url: str) -> str:
    """The URL of a server's database for display."""
    # Without parameters, because libpq accepts a password among them.
    scheme, _, rest = url.partition("://")
    authority, slash, database = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    user, hosts, database = re.split("[:?]", credentials)[0], hosts.partition("?")[0], database.partition("?")[0]
    return f"{scheme}://{user}{at}{hosts}{slash}{database}"

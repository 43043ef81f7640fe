"""Database, broker and public URLs: which ones are accepted, and which file a SQLite URL names.

It opens nothing. No message shows more of a URL than its scheme, because the rest may contain a password.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from config.values import SettingsError, url_refusal

_DATABASE: Final = "sqlite:///path (from the checkout), sqlite:////path (absolute) or postgresql://user@host/database"
_BROKER: Final = (
    "empty (no broker) or an address such as amqp://user:password@host/vhost or kafka://host:port,host:port"
)
_PUBLIC: Final = "an address such as https://payments.example.com, without user, '?' and '#'"
_SQLITE: Final = "sqlite:///"


def database_url(name: str, url: str, checkout: Path) -> str:
    """A PostgreSQL URL unchanged; a SQLite URL with the absolute path of its file.

    Three slashes mean a path from ``checkout``, four an absolute path. URL escapes (``%20``) are decoded. Raises
    SettingsError for everything else.
    """
    if url.startswith("postgresql://"):
        _split(name, url, _DATABASE)
        return url
    if not url.startswith(_SQLITE):
        raise url_refusal(name, _DATABASE, url)
    path = url.removeprefix(_SQLITE)
    if path in {"", ":memory:"}:
        message = f"{name} must name a file: data in memory are lost with the process"
        raise SettingsError(message)
    if path.endswith("/") or "?" in path or "#" in path:
        message = f"{name} must name a file, without '?' and '#' and without a slash at its end"
        raise SettingsError(message)
    try:
        file = checkout / unquote(path, errors="strict")
        str(file).encode()  # SQLite needs UTF-8; the checkout's own path may have another encoding
    except UnicodeError:
        message = f"{name} must name a file by a path in UTF-8"
        raise SettingsError(message) from None
    if "\0" in str(file):
        message = f"{name} must name a file: a path contains no NUL"
        raise SettingsError(message)
    return _SQLITE + quote(str(file))


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL from ``database_url``; None for PostgreSQL."""
    return Path(unquote(url.removeprefix(_SQLITE))) if url.startswith(_SQLITE) else None


def broker_url(name: str, url: str) -> str | None:
    """The broker's URL; None for an empty text. Raises SettingsError when it names no host.

    The schemes are those of ``messaging.brokers``, which refuses others.
    """
    if not url:
        return None
    if "://" not in url or not _split(name, url, _BROKER).hostname:
        raise url_refusal(name, _BROKER, url)
    return url


def public_url(name: str, url: str) -> str:
    """The address of the API for its clients, without a slash at its end. It may have a path, as behind a proxy.

    Raises SettingsError for everything else, also for user names: the address is public.
    """
    if not url.startswith(("http://", "https://")):
        raise url_refusal(name, _PUBLIC, url)
    parts = _split(name, url, _PUBLIC)
    if not parts.hostname or "@" in parts.netloc or "?" in url or "#" in url or not url.isascii():
        raise url_refusal(name, _PUBLIC, url)
    return url.rstrip("/")


def _split(name: str, url: str, accepted: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if "," not in parts.netloc:  # libpq accepts several hosts, which have no single port
            _ = parts.port
    except ValueError:
        raise url_refusal(name, accepted, url) from None
    if any(character.isspace() or not character.isprintable() for character in url):
        raise url_refusal(name, accepted, url)
    return parts

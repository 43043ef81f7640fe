"""The address of a RabbitMQ broker: reads ``amqp://`` and ``amqps://`` URLs, and never shows their credentials."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final, NamedTuple
from urllib.parse import unquote

SHORT_MAX: Final = 255
"""Bytes of a short string of AMQP, such as a name or a routing key."""

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_GUEST: Final = "guest"
_SERVER: Final = re.compile(r"(?:\[(?P<ip>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NAME_MAX: Final = 253
_PORT_MAX: Final = 65_535
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORM: Final = "must be an address such as amqp://user:password@host:5672/vhost"
_HIDDEN: Final = "***"


class Address(NamedTuple):
    """Where the broker is. ``user`` and ``password`` are never shown."""

    host: str
    port: int
    user: str
    password: str
    virtual_host: str
    encrypted: bool

    def __repr__(self) -> str:
        """Leave out user and password."""
        return f"Address({self.server}{self.virtual_host})"

    @property
    def server(self) -> str:
        """Host and port, such as ``mq:5672`` or ``[::1]:5672``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def of(cls, url: str) -> Address:
        """Read ``amqp://user:password@host:port/vhost`` or ``amqps://…``. Without a path the virtual host is ``/``.

        User, password and virtual host are percent-encoded. Without user and password both are ``guest``. Raises
        ValueError for another form; its text shows nothing of the URL.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in _PORTS:
            raise ValueError(_FORM)
        if "?" in rest or "#" in rest:
            raise ValueError("must have neither ? nor #; in a user, a password and a virtual host they are %3F and %23")
        authority, _, path = rest.partition("/")
        credentials, has_user, server = authority.rpartition("@")
        if "@" in path:
            raise ValueError("must have no @ after the host; in a password / is %2F, and in a virtual host @ is %40")
        host, port = _server(server)
        user, password = _credentials(credentials) if has_user else (_GUEST, _GUEST)
        virtual_host = _decoded(path) or "/"
        if len(virtual_host.encode()) > SHORT_MAX:
            raise ValueError(f"must have a virtual host of at most {SHORT_MAX} bytes")
        return cls(host, port or _PORTS[scheme], user, password, virtual_host, encrypted=scheme == "amqps")

    def hide(self, text: str) -> str:
        """Return ``text`` without user and password as whole words. The broker names the user in some answers."""
        for secret in (self.password, self.user):
            text = re.sub(rf"(?<![\w.-]){re.escape(secret)}(?![\w.-])", _HIDDEN, text)
        return text

    def problem(self, error: Exception | str) -> str:
        """The text of ``error`` for a log: it begins with host and port, and has neither user nor password."""
        return f"RabbitMQ at {self.server}: {self.hide(str(error))}"


def _server(text: str) -> tuple[str, int | None]:
    """Host and port; the port is None when it is not given."""
    found = _SERVER.fullmatch(text)
    if found is None:
        raise ValueError(_FORM)
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 0 < port <= _PORT_MAX:
        raise ValueError(f"{_FORM}, with a port from 1 to {_PORT_MAX}")
    if found["ip"] is not None:
        return _ip(found["ip"]), port
    name = found["name"]
    if len(name) > _NAME_MAX or not all(map(_LABEL.fullmatch, name.removesuffix(".").split("."))):
        raise ValueError(f"{_FORM}, with a valid host name")
    return name, port


def _ip(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise ValueError(f"{_FORM}, with a valid IPv6 address in brackets") from None


def _credentials(text: str) -> tuple[str, str]:
    encoded_user, _, encoded_password = text.partition(":")
    user, password = _decoded(encoded_user), _decoded(encoded_password)
    if not user or not password:
        raise ValueError("must have both a user and a password, or neither")
    return user, password


def _decoded(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError("must have two hexadecimal digits after each %; the character % itself is %25")
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("must have user, password and virtual host in UTF-8, percent-encoded") from None
    if not decoded.isprintable():
        raise ValueError("must not have control characters in user, password or virtual host")
    return decoded

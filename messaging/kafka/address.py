"""The address of a Kafka cluster: reads ``kafka://`` and ``kafkas://`` URLs, and never shows their credentials."""

from __future__ import annotations

import re
import ssl
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

PORT: Final = 9092
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_ENCRYPTED: Final = {"kafka": False, "kafkas": True}
_SERVER: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_PORT_MAX: Final = 65_535
_SERVERS_MAX: Final = 100
_HIDDEN: Final = "***"


class Address(NamedTuple):
    """Where the cluster is. ``servers`` holds the brokers to begin with, such as ``mq:9092`` or ``[::1]:9092``."""

    servers: tuple[str, ...]
    encrypted: bool = False
    user: str = ""
    password: str = ""
    mechanism: str = MECHANISMS[0]

    def __repr__(self) -> str:
        """Leave out user and password."""
        return f"Address({','.join(self.servers)})"

    @classmethod
    def of(cls, url: str) -> Address:
        """Read ``kafka://user:password@host:port,host:port/?mechanism=PLAIN``; ``kafkas://`` is over TLS.

        The port is 9092 unless it is given. User and password are percent-encoded, and may be left out together.
        Raises ValueError for anything else; its text shows nothing of the URL.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in _ENCRYPTED:
            raise ValueError("must begin with kafka:// or kafkas://")
        rest, has_query, query = rest.partition("?")
        credentials, has_user, servers = rest.removesuffix("/").rpartition("@")
        user, password = _credentials(credentials) if has_user else ("", "")
        mechanism = _mechanism(query) if has_query else MECHANISMS[0]
        if has_query and not has_user:
            raise ValueError("must not name a mechanism without a user and a password")
        if servers.count(",") >= _SERVERS_MAX:
            raise ValueError(f"must name at most {_SERVERS_MAX} servers")
        return cls(tuple(_server(one) for one in servers.split(",")), _ENCRYPTED[scheme], user, password, mechanism)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of librdkafka for a connection. They hold the password."""
        settings = {
            "bootstrap.servers": ",".join(self.servers),
            "security.protocol": ("SASL_" if self.user else "") + ("SSL" if self.encrypted else "PLAINTEXT"),
        }
        if self.user:
            settings["sasl.mechanism"] = self.mechanism
            settings["sasl.username"], settings["sasl.password"] = self.user, self.password
        trusted = ssl.get_default_verify_paths()  # as for every other connection of the service: see SSL_CERT_FILE
        if self.encrypted and (location := trusted.cafile or trusted.capath):
            settings["ssl.ca.location"] = location
        return settings

    def hide(self, text: str) -> str:
        """Return ``text`` without user and password, which a broker may repeat in what it answers."""
        for secret in (self.password, self.user):
            if secret:
                text = text.replace(secret, _HIDDEN)
        return text


def _credentials(text: str) -> tuple[str, str]:
    encoded_user, _, encoded_password = text.partition(":")
    try:
        user, password = (unquote(one, errors="strict") for one in (encoded_user, encoded_password))
    except UnicodeDecodeError:
        raise ValueError("must have user and password in UTF-8, percent-encoded") from None
    if not user or not password:
        raise ValueError("must have both a user and a password, or neither")
    if not (user + password).isprintable():
        raise ValueError("must not have control characters in user or password")
    return user, password


def _mechanism(query: str) -> str:
    parameters = parse_qsl(query, keep_blank_values=True)
    if [name for name, _ in parameters] != ["mechanism"] or parameters[0][1] not in MECHANISMS:
        raise ValueError(f"may have only ?mechanism= with one of {', '.join(MECHANISMS)} after the servers")
    return parameters[0][1]


def _server(text: str) -> str:
    found = _SERVER.fullmatch(text)
    if found is None or not 0 < int(found["port"] or PORT) <= _PORT_MAX:
        raise ValueError("must name servers as host:port, separated by commas, with an IPv6 address in brackets")
    return f"{found['host']}:{found['port'] or PORT}"

"""How one setting is read from its text: types, bounds and the words of every refusal.

It does not know which settings there are. A refusal is one line that names the variable and says what is accepted.
It shows the value, except where that may hold a secret: URLs, and variables that nobody knows.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

Word = TypeVar("Word", bound=StrEnum)

_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://", re.ASCII)
_SHOWN_LENGTH_MAX: Final = 80
_PORT_MAX: Final = 65535

# Kubernetes sets these in every container that runs beside a Service whose name begins with "payments".
_SERVICE_LINK: Final = re.compile(
    r"PAYMENTS_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)
_SERVICE_LINK_URL: Final = re.compile(r"(tcp|udp|sctp)://", re.ASCII)


class SettingsError(ValueError):
    """A setting cannot be used. The text is one line for the operator, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: ``host`` is a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it. Of names, only ``localhost`` counts."""
        if self.host.lower() == "localhost":
            return True
        try:
            ip = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return (mapped or ip).is_loopback

    @property
    def callable_here(self) -> Address:
        """The address to call from this machine: loopback where the server listens on every interface."""
        try:
            ip = ipaddress.ip_address(self.host)
        except ValueError:
            return self
        if not ip.is_unspecified:
            return self
        return Address("127.0.0.1" if ip.version == 4 else "::1", self.port)


def refusal(name: str, accepted: str, value: str) -> SettingsError:
    """The error that shows the value. Never for one that may hold a secret."""
    shown = value if len(value) <= _SHOWN_LENGTH_MAX else value[:_SHOWN_LENGTH_MAX] + "…"
    return SettingsError(f"{name} must be {accepted}, not {shown!r}")


def is_text(value: str) -> bool:
    """Whether the value of a variable is UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def url_refusal(name: str, accepted: str, value: str) -> SettingsError:
    """The error for a URL: in a mistyped one a password may stand anywhere, so only its scheme is shown."""
    scheme = _SCHEME.match(value)
    shown = f"'{scheme[0]}…'" if scheme else "a text without a scheme"
    return SettingsError(f"{name} must be {accepted}, not {shown}")


def parse_address(name: str, text: str) -> Address:
    """Read ``host:port``, an IPv6 address in brackets. Raises SettingsError, which calls the setting ``name``."""
    accepted = "host:port, such as 127.0.0.1:8080 or [::1]:8080"
    host, _, port = text.rpartition(":")
    if not _WHOLE.fullmatch(port) or not 1 <= int(port) <= _PORT_MAX:
        raise refusal(name, accepted, text)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host, version=6):
            raise refusal(name, accepted, text)
    elif not _is_ip(host, version=4) and not _is_host_name(host):
        raise refusal(name, accepted, text)
    return Address(host, int(port))


class Reader:
    """Reads typed values out of an environment and remembers which variables were asked for.

    A variable that is set to the empty text counts as not set. Every method raises SettingsError.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.names: set[str] = set()

    def text(self, name: str, default: str) -> str:
        """The value as it stands."""
        self.names.add(name)
        return self._environ.get(name) or default

    def word(self, name: str, default: Word) -> Word:
        """One of the words of the default's enumeration."""
        words = type(default)
        text = self.text(name, default)
        try:
            return words(text)
        except ValueError:
            raise refusal(name, f"one of {', '.join(words)}", text) from None

    def matching(self, name: str, default: str, pattern: str, accepted: str) -> str:
        """A text that matches the whole of ``pattern``."""
        text = self.text(name, default)
        if not re.fullmatch(pattern, text, re.ASCII):
            raise refusal(name, accepted, text)
        return text

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        text = self.text(name, str(default))
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise refusal(name, f"a whole number from {low} to {high}", text)
        return int(text)

    def seconds(self, name: str, default: float, low: float, high: float) -> float:
        """A number of seconds from ``low`` to ``high``; no exponents, no infinity."""
        text = self.text(name, str(default))
        if not _NUMBER.fullmatch(text) or not low <= float(text) <= high:
            raise refusal(name, f"a number of seconds from {low:g} to {high:g}", text)
        return float(text)

    def address(self, name: str, default: str) -> Address:
        """Where a server listens, see ``parse_address``."""
        return parse_address(name, self.text(name, default))

    def refuse_bytes(self, *prefixes: str) -> None:
        """Refuse a variable with one of these prefixes whose value is not UTF-8, which no URL, path or secret here is.

        Python decodes such bytes as lone surrogates, which fail later when a line is written or a file is opened.
        """
        for name in sorted(self._environ):
            if name.startswith(prefixes) and not is_text(self._environ[name]):
                message = f"{name} must be UTF-8 text"
                raise SettingsError(message)

    def refuse_unknown(self, prefix: str, tests_prefix: str, secrets_suffix: str) -> None:
        """Refuse a variable that begins with ``prefix`` and that nothing has asked for.

        A mistyped name would otherwise be ignored in silence, and the default used instead. Callback secrets (the
        gateways file names their variables), variables of the test suite and what Kubernetes sets are let through.
        The value is never shown: it may be a secret under a mistyped name.
        """
        for name in sorted(self._environ.keys() - self.names):
            if not name.startswith(prefix) or name.startswith(tests_prefix) or name.endswith(secrets_suffix):
                continue
            if _SERVICE_LINK.fullmatch(name) or _SERVICE_LINK_URL.match(self._environ[name]):
                continue
            known = {known.removeprefix(prefix): known for known in self.names}
            close = difflib.get_close_matches(name.removeprefix(prefix), sorted(known), n=1, cutoff=0.7)
            if close:
                hint = f"did you mean {known[close[0]]}?"
            elif f"{name}S".endswith(secrets_suffix):
                hint = f"did you mean {name}S?"
            else:
                hint = f"callback secrets end in {secrets_suffix}, all other settings are listed in the README"
            message = f"{name} is not a setting: {hint}"
            raise SettingsError(message)


def _is_ip(host: str, *, version: int) -> bool:
    try:
        return ipaddress.ip_address(host).version == version
    except ValueError:
        return False


def _is_host_name(host: str) -> bool:
    # A name whose last label is a number is a mistyped IPv4 address (URL standard, "ends in a number").
    return bool(_HOST_NAME.fullmatch(host)) and not host.rpartition(".")[2].isdigit()

"""Reading of one setting from its text: types, bounds, and the text of every refusal.

The fields of a dataclass declare the settings, with their bounds as ``msgspec.Meta``. This module has no list of
settings. A refusal is one line that names the variable and states what is accepted. It shows the value, except where
that may contain a secret: URLs and unknown variables.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec

_WHOLE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_SPELLINGS: Final[Mapping[type, tuple[re.Pattern[str], str]]] = {
    int: (_WHOLE, "a whole number"),
    float: (re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII), "a number of seconds"),
}
"""Numbers without signs, exponents, infinities and underscores, and their names in a refusal."""
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://", re.ASCII)
_SHOWN_LENGTH_MAX: Final = 80
_PORT_MAX: Final = 65535

# Kubernetes sets these in every container beside a Service whose name begins with "payments".
_SERVICE_LINK: Final = re.compile(
    r"PAYMENTS_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)
_SERVICE_LINK_URL: Final = re.compile(r"(tcp|udp|sctp)://", re.ASCII)


class SettingsError(ValueError):
    """A setting is not usable. The text is one line for the operator and contains no secret."""


@dataclass(frozen=True, slots=True)
class BindAddress:
    """The address of a server socket; ``host`` is a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it. The only such name is ``localhost``."""
        if self.host.lower() == "localhost":
            return True
        try:
            ip = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return (mapped or ip).is_loopback

    @property
    def callable_here(self) -> BindAddress:
        """The address for calls from this machine: loopback where the server listens on every interface."""
        try:
            ip = ipaddress.ip_address(self.host)
        except ValueError:
            return self
        if not ip.is_unspecified:
            return self
        return BindAddress("127.0.0.1" if ip.version == 4 else "::1", self.port)


def refusal(name: str, accepted: str, value: str) -> SettingsError:
    """The error that shows the value. It is not for values that may contain a secret."""
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
    """The error for a URL. It shows only the scheme, because a mistyped URL may contain a password anywhere."""
    scheme = _SCHEME.match(value)
    shown = f"'{scheme[0]}…'" if scheme else "a text without a scheme"
    return SettingsError(f"{name} must be {accepted}, not {shown}")


def parse_address(name: str, text: str) -> BindAddress:
    """Read ``host:port``, an IPv6 address in brackets. Raises SettingsError that names the setting ``name``."""
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
    return BindAddress(host, int(port))


def variables_of(settings: type, prefix: str) -> dict[str, str]:
    """The variable of each field of the dataclass ``settings``, by its name."""
    return {prefix + field.name.upper(): field.name for field in fields(settings)}


def read(settings: type, environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """The values of the variables that are set, by the fields of the dataclass ``settings``.

    An empty variable counts as not set. Raises SettingsError for the first wrong value.
    """
    hints = get_type_hints(settings, include_extras=True)
    return {
        field: _value(name, text, hints[field])
        for name, field in variables_of(settings, prefix).items()
        if (text := environ.get(name))
    }


def _value(name: str, text: str, hint: Any) -> Any:  # noqa: ANN401 - any type of a field
    kind, rules = (get_args(hint) if get_origin(hint) is Annotated else (hint, msgspec.Meta()))[:2]
    if kind is BindAddress:
        return parse_address(name, text)
    spelling, called = _SPELLINGS.get(kind, (None, ""))
    if spelling is not None:
        accepted = f"{called} from {rules.ge} to {rules.le}"
    else:
        accepted = f"one of {', '.join(kind)}" if isinstance(kind, type) and issubclass(kind, StrEnum) else ""
    with suppress(msgspec.ValidationError):
        if spelling is None:
            return msgspec.convert(text, hint, dec_hook=_construct)
        if spelling.fullmatch(text):
            return msgspec.convert(kind(text), hint)
    raise refusal(name, rules.description or accepted, text)


def _construct(kind: type, text: str) -> object:
    return kind(text)


def refuse_bytes(environ: Mapping[str, str], *prefixes: str) -> None:
    """Refuse a variable with one of these prefixes whose value is not UTF-8. Raises SettingsError.

    Python decodes such bytes as lone surrogates, which fail later when a line is written or a file is opened.
    """
    for name in sorted(environ):
        if name.startswith(prefixes) and not is_text(environ[name]):
            message = f"{name} must be UTF-8 text"
            raise SettingsError(message)


def refuse_unknown(
    environ: Mapping[str, str], known: Collection[str], prefix: str, tests_prefix: str, secrets_suffix: str
) -> None:
    """Refuse a variable that begins with ``prefix`` and is not ``known``. Raises SettingsError.

    Otherwise a mistyped name would be ignored silently, and the default used instead. Callback secrets (the
    gateways file names their variables), variables of the test suite and what Kubernetes sets are permitted. The
    value is never shown: it may be a secret under a mistyped name.
    """
    for name in sorted(environ.keys() - known):
        if not name.startswith(prefix) or name.startswith(tests_prefix) or name.endswith(secrets_suffix):
            continue
        if _SERVICE_LINK.fullmatch(name) or _SERVICE_LINK_URL.match(environ[name]):
            continue
        plain = {each.removeprefix(prefix): each for each in known}
        close = difflib.get_close_matches(name.removeprefix(prefix), sorted(plain), n=1, cutoff=0.7)
        if close:
            hint = f"did you mean {plain[close[0]]}?"
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

"""The settings of a client of a running service: its address and the API key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from config.settings import DEFAULT_BIND, PREFIX, refuse_bytes, refuse_unknown
from config.values import BindAddress, SettingsError, read, url_refusal

_URL: Final = "an address such as http://127.0.0.1:8080 or https://payments.example.com/prefix"
_KEY: Final = re.compile(r"[!-~]{1,512}")
_PATH: Final = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True)
class _Variables:
    """The variables that a client reads."""

    bind: BindAddress
    url: str
    api_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """The address of a service, and the API key for it."""

    https: bool
    host: str
    port: int
    prefix: str
    """The beginning of each path, without a slash at its end."""
    api_key: str | None = field(repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.https else 'http'}://{host}:{self.port}{self.prefix}"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, url: str | None = None) -> ClientSettings:
        """Read the settings; ``url`` overrides PAYMENTS_URL, which defaults to the address in PAYMENTS_BIND.

        Raises SettingsError with one line that names the wrong setting.
        """
        refuse_bytes(environ)
        given = read(_Variables, environ, PREFIX)
        refuse_unknown(environ)
        bind: BindAddress = given.get("bind", DEFAULT_BIND)
        key: str | None = given.get("api_key")
        if key and _KEY.fullmatch(key) is None:
            raise SettingsError("PAYMENTS_API_KEY must be 1 to 512 visible ASCII characters")
        name, address = "--url", url
        if address is None:
            name, address = "PAYMENTS_URL", given.get("url", f"http://{bind.callable_here}")
        parts, port = _parts(name, address)
        https = parts.scheme == "https"
        return cls(
            https=https,
            host=parts.hostname or "",
            port=port or (443 if https else 80),
            prefix=parts.path.rstrip("/"),
            api_key=key,
        )


def _parts(name: str, url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # unbalanced brackets, or not a port
        raise url_refusal(name, _URL, url) from None
    extras = parts.username is not None or parts.query or parts.fragment
    fits = _PATH.fullmatch(url) and parts.scheme in {"http", "https"} and parts.hostname and not extras
    if not fits:
        raise url_refusal(name, _URL, url)
    return parts, port

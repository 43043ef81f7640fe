"""The settings of those who ask a running service: where it is, and the key that lets them in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from config.settings import CLIENTS_VARIABLES, refuse_bytes, refuse_unknown, variable_names
from config.values import Reader, SettingsError, url_refusal

_URL: Final = "an address such as http://127.0.0.1:8080 or https://payments.example.com/prefix"
_KEY: Final = re.compile(r"[!-~]{1,512}")
_PATH: Final = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where the service is, and who asks."""

    https: bool
    host: str
    port: int
    prefix: str
    """Before each path; without a slash at its end."""
    api_key: str | None = field(repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.https else 'http'}://{host}:{self.port}{self.prefix}"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, url: str | None = None) -> ClientSettings:
        """Read them; ``url`` goes before PAYMENTS_URL, and without both PAYMENTS_BIND says where it is.

        Raises SettingsError with one line that names what is wrong.
        """
        reader = Reader(environ)
        refuse_bytes(reader)
        bind = reader.address("PAYMENTS_BIND", "127.0.0.1:8080")
        given = reader.text("PAYMENTS_URL", f"http://{bind.callable_here}")
        key = reader.text("PAYMENTS_API_KEY", "")
        reader.names |= variable_names() | CLIENTS_VARIABLES
        refuse_unknown(reader)
        if key and _KEY.fullmatch(key) is None:
            raise SettingsError("PAYMENTS_API_KEY is no API key: 1 to 512 visible ASCII characters")
        name, given = ("PAYMENTS_URL", given) if url is None else ("--url", url)
        parts, port = _parts(name, given)
        https = parts.scheme == "https"
        return cls(
            https=https,
            host=parts.hostname or "",
            port=port or (443 if https else 80),
            prefix=parts.path.rstrip("/"),
            api_key=key or None,
        )


def _parts(name: str, url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets that do not match, a port that is none
        raise url_refusal(name, _URL, url) from None
    extras = parts.username is not None or parts.query or parts.fragment
    fits = _PATH.fullmatch(url) and parts.scheme in {"http", "https"} and parts.hostname and not extras
    if not fits:
        raise url_refusal(name, _URL, url)
    return parts, port

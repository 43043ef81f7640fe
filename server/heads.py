"""Request heads as they arrive, before WSGI joins repeated headers into one.

Extends gunicorn's parser. It records names that are repeated or spelled with an underscore, and ignores
headers of proxies. The application interprets the headers.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

_Address: TypeAlias = str | int | tuple[str, int]

NONE: Final[frozenset[str]] = frozenset()
_SERVED_ONCE: Final = "CONTENT-TYPE"
"""gunicorn would refuse a repeated header and close the connection, even for a signed callback, which needs none."""


class Head(Request):
    """gunicorn's request, with the names of its headers as they were sent."""

    def __init__(self, cfg: Config, unreader: Unreader, peer_addr: _Address, req_number: int = 1) -> None:
        self._names: list[str] = []
        super().__init__(cfg, unreader, peer_addr, req_number)  # it reads the head

    @property
    def repeated(self) -> frozenset[str]:
        """The names of repeated headers, in lower case."""
        names = self._names
        if len(set(names)) == len(names):
            return NONE
        return frozenset(name.lower() for name in names if names.count(name) > 1)

    @property
    def underscored(self) -> frozenset[str]:
        """The names of headers that were spelled with underscores, in lower case and with hyphens.

        WSGI cannot tell the two spellings apart, so gunicorn drops these headers.
        """
        return frozenset(name.replace("_", "-").lower() for name in self._names if "_" in name) or NONE

    def _apply_header_policy(  # noqa: PLR0917  # as gunicorn calls it
        self,
        name: str,
        value: str,
        scheme_state: list[bool],
        seen: set[str],
        secure_scheme_headers: object,
        forwarder_headers: object,
        from_trailer: bool = False,  # noqa: FBT001, FBT002
    ) -> tuple[str, str] | None:
        """Record the name. Contradictions between headers of proxies must not fail a request, so these are ignored."""
        del secure_scheme_headers, forwarder_headers
        if not from_trailer:
            self._names.append(name)
            seen.discard(_SERVED_ONCE)
        kept: tuple[str, str] | None = super()._apply_header_policy(  # type: ignore[misc]  # untyped
            name, value, scheme_state, seen, {}, [], from_trailer=from_trailer
        )
        return kept

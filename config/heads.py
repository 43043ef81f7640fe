"""Request heads as they arrive, before WSGI joins repeated headers into one.

Extends gunicorn's parser. It records which names come more than once or are spelled with an underscore, and believes
no header of a proxy; what a header means is for the application.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

_Address: TypeAlias = str | int | tuple[str, int]

NONE: Final[frozenset[str]] = frozenset()
_SERVED_ONCE: Final = "CONTENT-TYPE"
"""gunicorn refuses a second one and closes the connection, also that of a signed callback, which needs none at all."""


class Head(Request):
    """gunicorn's request with the names of its headers as they were sent."""

    def __init__(self, cfg: Config, unreader: Unreader, peer_addr: _Address, req_number: int = 1) -> None:
        self._names: list[str] = []
        super().__init__(cfg, unreader, peer_addr, req_number)  # it reads the head

    @property
    def repeated(self) -> frozenset[str]:
        """The names, in lower case, of headers that came more than once."""
        names = self._names
        if len(set(names)) == len(names):
            return NONE
        return frozenset(name.lower() for name in names if names.count(name) > 1)

    @property
    def underscored(self) -> frozenset[str]:
        """The names, in lower case and with hyphens, of headers that were spelled with underscores.

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
        """Note the name. Headers of proxies are not read: contradictions between them must not refuse a request."""
        del secure_scheme_headers, forwarder_headers
        if not from_trailer:
            self._names.append(name)
            seen.discard(_SERVED_ONCE)
        kept: tuple[str, str] | None = super()._apply_header_policy(  # type: ignore[misc]  # untyped
            name, value, scheme_state, seen, {}, [], from_trailer=from_trailer
        )
        return kept

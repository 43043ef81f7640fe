"""Sends callbacks, and repeats those that the service does not accept. Content and signature come from the gateway."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from domain.outcomes import GatewayError
from gateways.http import HttpClient

RETRY_AFTER_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_TIMEOUT_S: Final = 2.0
_CONCURRENT_MAX: Final = 32

Message = Callable[[], tuple[Mapping[str, str], bytes]]
"""Makes headers and body. Each attempt makes them again, because timestamp and signature change."""


class CallbackSender:
    """Sends to ``url``/<gateway>. Failures are not reported: a service without a callback route is a normal case."""

    def __init__(self, url: str, later: Callable[[float, Callable[[], None]], None]) -> None:
        self._later = later
        self._http = HttpClient("callbacks", url, timeout_s=_TIMEOUT_S, max_concurrent=_CONCURRENT_MAX)

    def send(self, gateway: str, message: Message, times: int, *, wait: bool) -> None:
        """Send ``message`` ``times`` times. ``wait``: return only after the first attempt of the first one."""
        for number in range(times):
            if wait and number == 0:
                self._attempt(gateway, message, 0)
            else:
                self._later(0, lambda: self._attempt(gateway, message, 0))

    def _attempt(self, gateway: str, message: Message, failures: int) -> None:
        headers, body = message()
        try:
            accepted = 200 <= self._http.request("POST", f"/{gateway}", headers, body).status < 300
        except GatewayError:
            accepted = False
        if not accepted and failures < len(RETRY_AFTER_S):
            self._later(RETRY_AFTER_S[failures], lambda: self._attempt(gateway, message, failures + 1))

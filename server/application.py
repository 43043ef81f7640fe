"""The WSGI application of a worker, with its lifecycle: what gunicorn.conf.py and the worker call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from server.lifecycle import Lifecycle, Step

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

_ABOUT_THE_START: Final = frozenset({"/healthz", "/readyz"})


class HeaderKeys(NamedTuple):
    """Keys of the WSGI environ for what WSGI itself does not pass on about the headers of a request."""

    repeated: str
    underscored: str


class Application:
    """Serves ``app``. A request that arrives during the start waits for its end, or for a problem, up to ``wait_s``.

    ``steps`` makes the steps of the start from a function that returns the number of open connections.
    ``unreadable`` makes the answer to bytes that are no request: the id, media type and body for a status and a detail.
    """

    def __init__(
        self,
        app: WSGIApplication,
        lifecycle: Lifecycle,
        steps: Callable[[Callable[[], int]], Sequence[Step]],
        *,
        wait_s: float,
        header_keys: HeaderKeys,
        unreadable: Callable[[int, str], tuple[str, str, bytes]],
    ) -> None:
        self._app, self._lifecycle, self._steps, self._wait_s = app, lifecycle, steps, wait_s
        self._repeated, self._underscored = header_keys
        self._settled = lifecycle.settled
        self.unreadable = unreadable

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if not self._settled.is_set() and environ["PATH_INFO"] not in _ABOUT_THE_START:
            self._settled.wait(self._wait_s)
        connection = environ.get("gunicorn.socket")  # one of server.worker's
        environ[self._repeated] = getattr(connection, "repeated_headers", ())
        environ[self._underscored] = getattr(connection, "underscored_headers", ())
        return self._app(environ, start_response)

    def start(self, connections: Callable[[], int]) -> None:
        """Start the service in the background. ``connections`` returns how many the worker has open."""
        self._lifecycle.start(self._steps(connections))

    def drain(self) -> None:
        """Report that the service stops, and send nothing new to gateways; requests that still arrive are answered."""
        self._lifecycle.drain()

    def stop(self) -> None:
        """Stop the service, after the last request."""
        self._lifecycle.stop()

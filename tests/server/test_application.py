"""The application of a worker: requests wait for the start, and what WSGI loses of headers is passed on."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from server.application import Application, HeaderKeys
from server.lifecycle import Lifecycle, Step

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

WAIT_S = 10.0


class Status:
    """Ignores what the lifecycle shows."""

    def report_problem(self, problem: str) -> None:
        """See Status."""

    def begin_stopping(self) -> None:
        """See Status."""


class World:
    """An application whose start waits for ``go``."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self.served: list[dict[str, Any]] = []
        self.connections = 0
        self.go = threading.Event()
        self.lifecycle = Lifecycle(Status(), retried=OSError, problem="It cannot be opened")
        self.application = Application(
            self._app,
            self.lifecycle,
            lambda connections: [Step("a", lambda: self._start(connections()))],
            wait_s=wait_s,
            header_keys=HeaderKeys("test.repeated", "test.underscored"),
            unreadable=lambda status, detail: (f"r-{status}", "text/plain", detail.encode()),
        )

    def _start(self, connections: int) -> None:
        self.connections = connections
        assert self.go.wait(WAIT_S)

    def _app(self, environ: dict[str, Any], _start_response: StartResponse) -> Iterable[bytes]:
        self.served.append(environ)
        return [b"ok"]

    def request(self, path: str, **environ: object) -> Iterable[bytes]:
        """Serve one request."""
        return self.application({"PATH_INFO": path, **environ}, lambda *_: lambda _: None)


def test_a_request_waits_for_the_start() -> None:
    """It is served once the start has ended."""
    world = World()
    world.application.start(lambda: 7)
    client = threading.Thread(target=world.request, args=["/v1/deposit"])
    client.start()
    client.join(0.05)
    assert world.served == []
    world.go.set()
    client.join(WAIT_S)
    assert [environ["PATH_INFO"] for environ in world.served] == ["/v1/deposit"]
    assert world.connections == 7
    world.application.stop()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_does_not_wait(path: str) -> None:
    """Both routes report the start itself."""
    world = World()
    world.request(path)
    assert len(world.served) == 1


def test_a_request_waits_no_longer_than_its_deadline() -> None:
    """Then the application answers that nothing is stored."""
    world = World(wait_s=0.01)
    assert list(world.request("/v1/deposit")) == [b"ok"]


def test_a_problem_lets_requests_through() -> None:
    """They are answered with the problem."""
    world = World()
    world.lifecycle.report_problem("The store cannot be opened")
    assert list(world.request("/v1/deposit")) == [b"ok"]


def test_header_names_that_wsgi_loses_are_passed_on() -> None:
    """Names of repeated and underscored headers go with the request; without a connection there are none."""
    world = World()
    world.lifecycle.settled.set()
    connection = SimpleNamespace(repeated_headers={"accept"}, underscored_headers={"idempotency-key"})
    world.request("/", **{"gunicorn.socket": connection})
    world.request("/")
    passed_on = [(environ["test.repeated"], environ["test.underscored"]) for environ in world.served]
    assert passed_on == [({"accept"}, {"idempotency-key"}), ((), ())]
    assert world.application.unreadable(400, "no") == ("r-400", "text/plain", b"no")

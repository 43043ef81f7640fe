"""Throws an error in an actor of a whole service: before or after the handler of a message, or at a call in it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from actors.customer.context import CustomerContext
from actors.gateways.bulkhead import Bulkhead
from actors.runtime.actor import ServiceActor

ON_START, RECOVER = "on_start", "recover"
"""The names, in place of a message's, of an actor's start and of ``recover``."""
_WATCHED = (
    "_runtime",
    "_store",
    "_supervisor",
    "_breaker_sync",
    "_self",
    "_scheduler",
    "_dead_letters",
    "_queue",
    "_heartbeat",
    "_leases",
    "_customer",
    "_listener",
    "_address",
)
"""What actors call, by the names of their attributes."""
_WATCHED_OF_CUSTOMERS = (
    "runtime",
    "store",
    "loader",
    "journal",
    "supervisor",
    "scheduler",
    "dead_letters",
    "queue",
    "address",
    "settlement",
    "listener",
    "leases_unknown",
    "next_serial",
)


class Point(NamedTuple):
    """Where an error can be thrown: the class of an actor, the class of a message, and the place at that message."""

    actor: str
    message: str
    place: str
    """``before`` or ``after`` the handler, or a call: what is called, and from which line."""


class Killer:
    """Counts the points that actors pass; at the ``nth`` passing of each target it throws ``error``."""

    def __init__(self, *targets: Point, error: Callable[[], BaseException] = RuntimeError, nth: int = 1) -> None:
        self.passed: Counter[Point] = Counter()
        self.thrown: list[Point] = []
        self._targets, self._error, self._nth = targets, error, nth
        self._handling: list[tuple[str, str]] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch the actors that are launched within the block."""
        original = ServiceActor.launch

        def launch(actor: ServiceActor, *arguments: Any) -> Any:
            self._watch(actor)
            return original(actor, *arguments)

        ServiceActor.launch = launch  # type: ignore[method-assign, assignment]  # put back below
        try:
            yield
        finally:
            ServiceActor.launch = original  # type: ignore[method-assign]

    def watched(self, target: Any) -> Any:
        """A stand-in for ``target``, each call of which is a point while an actor handles something."""
        return _Watched(target, self)

    def call(self, name: str, line: int) -> None:
        """A call is about to be made."""
        if self._handling:
            actor, message = self._handling[-1]
            self._pass(Point(actor, message, f"{name}, line {line}"))

    def _pass(self, point: Point) -> None:
        self.passed[point] += 1
        if point in self._targets and self.passed[point] == self._nth:
            self.thrown.append(point)
            raise self._error()

    def _watch(self, actor: ServiceActor) -> None:
        for name in _WATCHED:
            if hasattr(actor, name):
                setattr(actor, name, self.watched(getattr(actor, name)))
        context = getattr(actor, "_context", None)
        if isinstance(context, CustomerContext):
            stand_ins: dict[str, Any] = {name: self.watched(getattr(context, name)) for name in _WATCHED_OF_CUSTOMERS}
            actor._context = replace(context, **stand_ins)  # type: ignore[attr-defined]
        for bulkhead in getattr(actor, "_bulkheads", {}).values():
            self._watch_bulkhead(bulkhead)
        actor.receive = self._around(actor, actor.receive)  # type: ignore[method-assign, assignment]  # of this one
        begin, recover = actor.on_start, actor.recover
        watched_begin, watched_recover = (
            self._around(actor, lambda _: begin()),
            self._around(actor, lambda _: recover()),
        )
        actor.on_start = lambda: watched_begin(ON_START)  # type: ignore[method-assign]
        actor.recover = lambda: watched_recover(RECOVER)  # type: ignore[method-assign]

    def _watch_bulkhead(self, bulkhead: Bulkhead) -> None:
        if not isinstance(bulkhead.executor, _Watched):  # bulkheads outlive their actors
            bulkhead.executor, bulkhead.breaker = self.watched(bulkhead.executor), self.watched(bulkhead.breaker)

    def _around(self, actor: ServiceActor, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        name = type(actor).__name__

        def handle(message: Any) -> Any:
            kind = message if isinstance(message, str) else type(message).__name__
            self._pass(Point(name, kind, "before"))
            self._handling.append((name, kind))
            try:
                reply = handler(message)
            finally:
                self._handling.pop()
            self._pass(Point(name, kind, "after"))
            return reply

        return handle


class _Watched:
    """A stand-in for ``target`` that reports each call of it to the killer first."""

    def __init__(self, target: Any, killer: Killer) -> None:
        self._target, self._killer = target, killer

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return self._told(f"{type(self._target).__name__}.{name}", found) if callable(found) else found

    def __call__(self, *arguments: Any) -> Any:
        """The target is a function itself. A recipient that it returns is watched as well."""
        found = self._told(getattr(self._target, "__name__", "call"), self._target)(*arguments)
        return self._killer.watched(found) if hasattr(found, "tell") else found

    def _told(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            frame = sys._getframe(1)
            while frame.f_code.co_filename == __file__ and frame.f_back is not None:
                frame = frame.f_back
            self._killer.call(name, frame.f_lineno)
            return function(*arguments, **named)

        return call

"""The simulator's process: settings, files, gevent server, signals. Import it only after monkey patching."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from gateways.development import CALLBACK_SECRET
from gateways.simulator.app import DIALECTS, make_app
from gateways.simulator.behaviours import SOCKET
from gateways.simulator.callbacks import CallbackSender
from gateways.simulator.durable_lines import DurableLines

_CONNECTIONS_MAX: Final = 4096
_BACKLOG: Final = 1024
_STOP_S: Final = 1.0


class _Handler(WSGIHandler):
    """Passes a call's socket to the application, which may hold or close it."""

    def handle(self) -> None:
        # The server sends headers and body separately; without this each answer waits for a delayed acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle()

    def get_environ(self) -> dict[str, object]:
        environ: dict[str, object] = super().get_environ()
        environ[SOCKET] = self.socket
        return environ


def serve(environ: Mapping[str, str]) -> None:
    """Serve with the settings ``SIMULATOR_*`` until SIGINT or SIGTERM. Raises SystemExit with one line on failure."""
    host, port = _address(environ.get("SIMULATOR_BIND") or "127.0.0.1:8090")
    ledger_path = Path(environ.get("SIMULATOR_LEDGER") or "var/ledger.jsonl")
    callback_url = environ.get("SIMULATOR_CALLBACK_URL") or "http://127.0.0.1:8080/v1/callbacks"
    keys = _keys(environ)
    try:
        callbacks = CallbackSender(callback_url, _later)
    except ValueError:
        raise SystemExit("simulator: SIMULATOR_CALLBACK_URL must be an http or https URL") from None
    try:  # the port first: the process that holds it owns the ledger
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SystemExit(f"simulator: cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        ledger = DurableLines(ledger_path, _sync)
        memory = DurableLines(ledger_path.with_suffix(".memory.jsonl"), _sync)
    except OSError as error:
        raise SystemExit(f"simulator: cannot open its ledger {ledger_path}: {error.strerror}") from None
    try:
        app = make_app(ledger, memory, callbacks, keys, _later)
    except (ValueError, LookupError, TypeError):
        raise SystemExit(f"simulator: its ledger {ledger_path} holds lines that it did not write") from None
    server = WSGIServer(listener, app, spawn=Pool(_CONNECTIONS_MAX), handler_class=_Handler, log=None)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    server.start()
    names = ", ".join(f"/{dialect.name}" for dialect in DIALECTS)
    sys.stdout.write(
        f"simulator: listening on http://{host}:{listener.getsockname()[1]} ({names}; /ledger /calls /faults), "
        f"ledger {ledger_path}, callbacks to {callback_url}\n"
    )
    sys.stdout.flush()
    stop.wait()
    server.stop(timeout=_STOP_S)


def _address(bind: str) -> tuple[str, int]:
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise SystemExit("simulator: SIMULATOR_BIND must be an address and a port, such as 127.0.0.1:8090")
    return host.strip("[]"), int(port)


def _keys(environ: Mapping[str, str]) -> Mapping[str, bytes]:
    """The signing key of each gateway's callbacks, from its secret in ``environ`` or the development secret."""
    keys = {}
    for dialect in DIALECTS:
        try:
            keys[dialect.name] = dialect.key(environ.get(dialect.secret_env) or CALLBACK_SECRET)
        except ValueError:
            raise SystemExit(f"simulator: {dialect.secret_env} is not a valid secret of {dialect.name}") from None
    return keys


def _later(seconds: float, function: Callable[[], None]) -> None:
    gevent.spawn_later(seconds, function)


def _sync(descriptor: int) -> None:
    """Flush to disk on a native thread, so that other calls continue."""
    gevent.get_hub().threadpool.apply(os.fsync, (descriptor,))

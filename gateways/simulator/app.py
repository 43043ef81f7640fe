"""The simulator's HTTP application: its gateways, and ``/ledger``, ``/calls`` and ``/faults`` for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Final

import falcon

from domain.strict_json import MalformedError, parse_object
from gateways.simulator import gateway_a, gateway_b
from gateways.simulator.behaviours import BehaviourGate, read_body
from gateways.simulator.callbacks import CallbackSender
from gateways.simulator.dialect import App, Dialect
from gateways.simulator.durable_lines import DurableLines
from gateways.simulator.faults import FaultInjection, FaultsError
from gateways.simulator.provider import Later, Provider
from gateways.simulator.records import Record

DIALECTS: Final = (gateway_a.DIALECT, gateway_b.DIALECT)

_JSON: Final = "application/json"


def make_app(
    ledger: DurableLines, memory: DurableLines, callbacks: CallbackSender, keys: Mapping[str, bytes], later: Later
) -> App:
    """Make the application over two open files. ``keys``: gateway name to the key that signs its callbacks.

    ``later`` runs a function after a number of seconds.
    """
    names = [dialect.name for dialect in DIALECTS]
    faults = FaultInjection(names)
    gate = BehaviourGate(faults, names)
    app: App = falcon.App()
    for dialect in DIALECTS:
        notify = partial(_notify, callbacks, dialect, keys[dialect.name])
        provider = Provider(dialect.name, dialect.prefix, ledger=ledger, memory=memory, later=later, notify=notify)
        dialect.mount(app, provider, gate)
    app.add_route("/ledger", _Ledger(ledger))
    app.add_route("/calls", _Calls(gate))
    app.add_route("/faults", _Faults(faults))
    return app


def _notify(callbacks: CallbackSender, dialect: Dialect, key: bytes, record: Record, times: int, *, wait: bool) -> None:
    callbacks.send(dialect.name, partial(dialect.callback, record, key), times, wait=wait)


class _Ledger:
    def __init__(self, ledger: DurableLines) -> None:
        self._ledger = ledger

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type, resp.data = _JSON, b"[" + b",\n".join(self._ledger.lines) + b"]\n"


class _Calls:
    def __init__(self, gate: BehaviourGate) -> None:
        self._gate = gate

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type, resp.data = _JSON, json.dumps(self._gate.calls).encode()


class _Faults:
    def __init__(self, faults: FaultInjection) -> None:
        self._faults = faults

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        answer: dict[str, object]
        try:
            in_force = self._faults.update(parse_object(read_body(req)))
        except (MalformedError, FaultsError) as error:
            resp.status, answer = "400", {"error": str(error)}
        else:
            answer = {name: asdict(faults) for name, faults in in_force.items()}
        resp.content_type, resp.data = _JSON, json.dumps(answer).encode()

"""The wire format of a simulated gateway: its name, its routes and its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import falcon

from gateways.simulator.behaviours import BehaviourGate
from gateways.simulator.provider import Provider
from gateways.simulator.records import Record
from gateways.simulator.rows import TrueStatus

App = falcon.App[falcon.Request, falcon.Response]

REPORTED: Final[Mapping[TrueStatus, str]] = MappingProxyType(
    {
        TrueStatus.SUCCESS: "completed",
        TrueStatus.DECLINED: "failed",
        TrueStatus.AUTHORIZED: "authorized",
        TrueStatus.CANCELLED: "cancelled",
    }
)
"""The words of callbacks, the same at both gateways."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One gateway's wire format: one file each.

    ``prefix`` begins its ids (``A-1``). ``mount`` adds its routes to the application. ``secret_env`` names the variable
    with the secret of its callbacks. ``key`` derives the signing key from that secret (ValueError: unusable secret).
    ``callback`` makes headers and body of the callback that reports a record, signed with that key for this moment.
    """

    name: str
    prefix: str
    secret_env: str
    mount: Callable[[App, Provider, BehaviourGate], None]
    key: Callable[[str], bytes]
    callback: Callable[[Record, bytes], tuple[Mapping[str, str], bytes]]

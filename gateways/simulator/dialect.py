"""What a simulated gateway consists of besides the provider's mind: its name, its routes and its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import falcon

from gateways.simulator.faces import Faces
from gateways.simulator.provider import Provider, Record

App = falcon.App[falcon.Request, falcon.Response]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One gateway's wire format: one file each.

    ``prefix`` begins its ids (``A-1``); ``mount`` adds its routes to the application. ``secret_env`` names the variable
    with the secret of its callbacks, ``key`` makes the key of the signature of it (ValueError: it cannot be one), and
    ``callback``, given that key, makes headers and body of the callback that tells what became of a record, signed for
    this moment.
    """

    name: str
    prefix: str
    secret_env: str
    mount: Callable[[App, Provider, Faces], None]
    key: Callable[[str], bytes]
    callback: Callable[[Record, bytes], tuple[Mapping[str, str], bytes]]

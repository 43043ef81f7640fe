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

    ``prefix`` begins its ids (``A-1``); ``mount`` adds its routes to the application; ``callback`` makes headers and
    body of the callback that tells what became of a record, signed for this moment.
    """

    name: str
    prefix: str
    mount: Callable[[App, Provider, Faces], None]
    callback: Callable[[Record], tuple[Mapping[str, str], bytes]]

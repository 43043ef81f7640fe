"""Simulated providers, with a ledger of the money that they moved.

The simulator is a separate process. It shares only the wire format and the development secret with the service.
"""

from __future__ import annotations

from collections.abc import Mapping


def run(environ: Mapping[str, str]) -> None:
    """Serve until SIGINT or SIGTERM, with the settings ``SIMULATOR_*`` of ``environ``.

    Call it first in a separate process: it patches threads, sockets and sleeps into greenlets. Raises SystemExit with
    one line of text.
    """
    from gevent import monkey  # noqa: PLC0415 (importing this package must not bring gevent in)

    monkey.patch_all()

    from gateways.simulator.server import serve  # noqa: PLC0415 (it must see the patched modules)

    serve(environ)

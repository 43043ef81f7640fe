"""A stand-in for the real providers, with a ledger of the money that it moved.

It runs as a process of its own and shares nothing with the service but the wire and the development secret.
"""

from __future__ import annotations

from collections.abc import Mapping


def run(environ: Mapping[str, str]) -> None:
    """Serve until SIGINT or SIGTERM, as ``SIMULATOR_*`` in ``environ`` say. Raises SystemExit with one line of text.

    Call it first of all in a process of its own: it turns threads, sockets and sleeps into greenlets.
    """
    from gevent import monkey  # noqa: PLC0415 (importing this package must not bring gevent in)

    monkey.patch_all()

    from gateways.simulator.server import serve  # noqa: PLC0415 (it must see the patched modules)

    serve(environ)

"""Blocking C calls under gevent: run on a native thread, so that other greenlets continue to run."""

from __future__ import annotations

from collections.abc import Callable

from gevent import monkey
from gevent.threadpool import ThreadPool


def offload() -> Callable[[Callable[[], None]], None]:
    """Return a function that runs another to its end without blocking other greenlets."""
    if not monkey.is_module_patched("threading"):
        return lambda function: function()
    pool = ThreadPool(1)

    def run(function: Callable[[], None]) -> None:
        pool.apply(function)

    return run

"""Runs the empty resource with the options of gunicorn.conf.py and with gunicorn's own gevent worker.

The service has a worker of its own, whose way of reading requests and sending responses is part of what is measured.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from gunicorn.config import KNOWN_SETTINGS
from gunicorn.workers.base import Worker

_SERVICE_ONLY = frozenset({"wsgi_app", "on_starting", "post_worker_init", "worker_exit"})
_NAMES = frozenset(setting.name for setting in KNOWN_SETTINGS) - _SERVICE_ONLY

_theirs = runpy.run_path(str(Path(__file__).resolve().parent.parent / "gunicorn.conf.py"))
globals().update({name: value for name, value in _theirs.items() if name in _NAMES})

wsgi_app = "bench.empty:app"
worker_class = "gevent"


def post_worker_init(worker: Worker) -> None:
    """Log that the worker is ready, as the service does."""
    worker.log.info("ready")

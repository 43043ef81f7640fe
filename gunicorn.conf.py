"""The configuration of gunicorn, which reads this file when it is started in the checkout.

It is about processes, not about payments. The master reads the settings and never imports the service. Each worker
builds its own service after the fork, because threads and greenlets do not survive one.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import gunicorn.app.base
from gunicorn.glogging import Logger

# gunicorn may have been started elsewhere, with -c and the path of this file.
_CHECKOUT: Final = Path(__file__).resolve().parent
if sys.path[:1] != [str(_CHECKOUT)]:
    sys.path.insert(0, str(_CHECKOUT))

from config import gateways_file
from config.logging import dict_config, skip_unused_details
from config.redaction import Redaction, hide
from config.settings import Settings, SettingsError
from config.streams import occupy, redact_stderr
from config.values import BindAddress
from domain import cards
from server import gunicorn_options, metrics_files
from server.arbiter import MASTERS_SIGNALS, WRONG_SETTING, Arbiter
from server.shared_folder import hold, new_folder

if TYPE_CHECKING:
    from gunicorn.http.message import Request
    from gunicorn.workers.base import Worker

logger: Final = logging.getLogger("gunicorn.error")
_METERS: Final = "PROMETHEUS_MULTIPROC_DIR"
_NOT_SHARED: Final = "workers cannot share their metrics, so each one exposes its own: %s"
_dead: Final[set[int]] = set()
"""Dead workers whose counts are not yet added to the totals."""
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

occupy()
try:
    settings = Settings.from_environ(os.environ)
    gateways = len(gateways_file.read(settings.gateways_file))
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    raise SystemExit(WRONG_SETTING) from None

skip_unused_details()
# Before the first log line: all lines of the master and of the workers pass the redaction.
redaction = Redaction(cards)
redact_stderr(redaction, buffer=True)
hide(*settings.secret_urls)


class LoggerWithoutAccessLog(Logger):
    """Gunicorn's logger without an access log.

    With any logging configuration gunicorn gathers all headers and the environ of every request for an access log,
    although no handler writes it.
    """

    def _compute_access_log_enabled(self) -> bool:
        return False


wsgi_app = "wsgi:app"
chdir = str(_CHECKOUT)
bind = str(settings.bind)
workers = settings.workers
# Greenlets accepted twice as many deposits as threads, which contend for the interpreter lock.
worker_class = "server.worker.Worker"
# Connections of one worker; the next ones wait in the kernel's queue.
worker_connections = 1000
backlog = 1024
# An idle connection is kept this long. A stopping worker waits as long for slow or idle clients.
keepalive = 5
# A worker without a heartbeat for this long is killed.
timeout = 30
# From SIGTERM to SIGKILL. It covers the second until a worker reacts, the wait for slow clients (``start_drain``),
# the longest command, a client that does not take its response, and the stop of the service, because gunicorn does
# not call worker_exit in a worker that it kills. It also covers the wait for the last log lines.
graceful_timeout = math.ceil(settings.request_deadline_s) + keepalive + 25
# Actors, greenlets and locks do not survive a fork. A worker that restarts itself gains nothing.
preload_app = False
max_requests = 0
# The C parser that "auto" would choose when it is installed (gunicorn_h1c, up to 0.6.9) accepts bare line feeds,
# folded headers and doubled spaces, which the Python parser refuses. Behind a proxy they allow request smuggling.
http_parser = "python"
# The target of a request comes from the request line only, never from a header of a proxy.
forwarder_headers = ""
# The master needs no control socket.
control_socket_disable = True
# Heartbeat files in memory: on a slow disk the file of a live worker could be too old.
_shared_memory = Path("/dev/shm")  # noqa: S108 - gunicorn makes unnamed files there
worker_tmp_dir = str(_shared_memory) if _shared_memory.is_dir() else None
logger_class = LoggerWithoutAccessLog
logconfig_dict = dict_config(settings.log_level, settings.log_format, redaction, buffer=True)
loglevel = settings.log_level.lower()


def pre_request(_worker: Worker, _request: Request) -> None:
    """Do nothing. gunicorn's own function prepares a debug line for each request, at any log level."""


def on_starting(server: Arbiter) -> None:
    """Refuse gunicorn options that contradict the settings. Then prepare the folder of the workers' metrics."""
    try:
        gunicorn_options.refuse(server.cfg, _ours)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(WRONG_SETTING) from None
    # Each master uses a new folder, because an inherited one holds the counts of other processes. prometheus_client
    # reads the variable when it is imported, in the workers.
    os.environ.pop(_METERS, None)
    try:
        os.environ[_METERS] = str(new_folder("payments-metrics-", Path(worker_tmp_dir or tempfile.gettempdir())))
    except OSError as error:
        logger.error(_NOT_SHARED, error)  # noqa: TRY400 - a traceback would add nothing


def when_ready(server: Arbiter) -> None:
    """Refuse inherited public sockets, as from systemd, when a loopback PAYMENTS_BIND means no API keys."""
    for listener in server.LISTENERS:
        name = listener.getsockname()
        if settings.bind.is_loopback and not (isinstance(name, tuple) and BindAddress(name[0], name[1]).is_loopback):
            sys.stderr.write(f"PAYMENTS_BIND is {settings.bind}, and gunicorn was handed a socket at {name}\n")
            raise SystemExit(WRONG_SETTING)


def on_exit(_server: Arbiter) -> None:
    """Remove the folder of the metrics."""
    if _METERS in os.environ:
        shutil.rmtree(os.environ[_METERS], ignore_errors=True)


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Keep the counts of a dead worker, without what it had in progress. Never raises, because this is the master."""
    if _METERS not in os.environ:
        return
    _dead.add(int(worker.pid))
    _dead.difference_update(server.WORKERS)  # an id may belong to a new worker
    try:
        from api.metrics.ended import add_up

        add_up(Path(os.environ[_METERS]), _dead)
    except FileNotFoundError:  # the folder is gone
        _dead.clear()
    except Exception:
        logger.exception("the counts of dead workers cannot be added up")


def post_fork(_server: Arbiter, worker: Worker) -> None:
    """Have the kernel signal the worker when its master dies, so that it frees the port for the next master at once.

    Then prepare its metrics, before anything imports prometheus_client. A failure there does not stop the worker.
    """
    gunicorn_options.in_force = True
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != worker.ppid:
            raise SystemExit(0)
    if _METERS not in os.environ:
        return
    try:
        folder = Path(os.environ[_METERS])
        hold(folder)
        metrics_files.reserve(folder, int(worker.pid), gateways)
    except OSError as error:
        logger.error(_NOT_SHARED, error)  # noqa: TRY400 - a traceback would add nothing
        del os.environ[_METERS]
        if "prometheus_client" in sys.modules:  # inherited: the master imports it when a worker has died
            from prometheus_client import values

            values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def post_worker_init(worker: Worker) -> None:
    """Start the service in the worker, after gevent has patched it."""
    import gevent

    from server import worker as ours
    from wsgi import service

    assert isinstance(worker, ours.Worker)
    worker.request_s = min(settings.request_deadline_s, ours.REQUEST_MAX_S)
    service.start(lambda: worker.connections)

    def stop_intake(signum: int, frame: FrameType | None) -> None:
        worker.handle_exit(signum, frame)
        # Nothing may block in a signal handler.
        gevent.spawn(service.drain)
        gevent.spawn(worker.start_drain)

    for signum in MASTERS_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop_intake)
    signal.siginterrupt(signal.SIGTERM, False)  # noqa: FBT003 - it takes no keywords


def worker_exit(_server: Arbiter, _worker: Worker) -> None:
    """Stop the service after the last request, or at once after a quick shutdown or the death of the master."""
    wsgi = sys.modules.get("wsgi")
    if wsgi is not None and hasattr(wsgi, "service"):  # it may have failed to load
        wsgi.service.stop()


vars(gunicorn.app.base)["Arbiter"] = Arbiter  # gunicorn makes its master by this name
Arbiter.single = settings.sqlite_path is not None
Arbiter.folder = _CHECKOUT
Arbiter.check = ("-c", "import wsgi")
Arbiter.unshared = frozenset({_METERS})
_ours = dict(globals())  # before a file that includes this one changes a value
try:
    gunicorn_options.refuse_command_line(_ours)
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    raise SystemExit(WRONG_SETTING) from None

"""How gunicorn runs the service; read by itself when gunicorn is started in the checkout.

It owns the life of the processes and no rule of payments: the master reads the settings and never imports the
service; each worker builds its own after the fork, because threads and greenlets do not survive one.
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
    from gunicorn.workers.base import Worker

logger: Final = logging.getLogger("gunicorn.error")
_METERS: Final = "PROMETHEUS_MULTIPROC_DIR"
_NOT_SHARED: Final = "workers cannot share their metrics, so that each tells its own: %s"
_dead: Final[set[int]] = set()
"""Workers whose counts are still to be added up."""
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h

occupy()
try:
    settings = Settings.from_environ(os.environ)
    gateways = len(gateways_file.read(settings.gateways_file))
except SettingsError as error:
    sys.stderr.write(f"{error}\n")
    raise SystemExit(WRONG_SETTING) from None

skip_unused_details()
# Before anything is said: the master's own lines and the workers' go through it.
redaction = Redaction(cards)
redact_stderr(redaction, buffer=True)
hide(*settings.secret_urls)


class LoggerWithoutAccessLog(Logger):
    """Gunicorn's logger, minus an access log.

    Gunicorn takes any logging configuration for a wish to log accesses, and then gathers all headers and the whole
    environ of every request for a line that nobody prints.
    """

    def _compute_access_log_enabled(self) -> bool:
        return False


wsgi_app = "wsgi:app"
chdir = str(_CHECKOUT)
bind = str(settings.bind)
workers = settings.workers
# Greenlets: threads, which fight for the interpreter lock and hand requests over, accepted half as many deposits.
worker_class = "server.worker.Worker"
# Connections of one worker; the next ones wait in the kernel's queue.
worker_connections = 1000
backlog = 1024
# An idle connection is kept this long, and so is a stopping worker by a client that is slow, or has nothing to say.
keepalive = 5
# A worker that has not said for this long that its loop turns is killed.
timeout = 30
# From SIGTERM to SIGKILL. It covers the second until a worker notices, a slow client's wait (``start_drain``),
# the longest command, a client that does not take its answer, and the service's own stop: gunicorn does not call
# worker_exit in a worker that it had to kill. And the last lines of the log are waited for.
graceful_timeout = math.ceil(settings.request_deadline_s) + keepalive + 25
# Actors, greenlets and locks do not survive a fork, and a worker that restarts itself has nothing to gain.
preload_app = False
max_requests = 0
# The C parser that "auto" would pick when it is installed (gunicorn_h1c, up to 0.6.9) lets through what the Python
# one refuses: bare line feeds, folded headers, doubled spaces. Behind a proxy that smells of request smuggling.
http_parser = "python"
# No header says where a request leads but its own first line, whoever sends it.
forwarder_headers = ""
# Nobody steers the master through a socket in somebody's home directory.
control_socket_disable = True
# Heartbeat files belong in memory, where a slow disk cannot make a worker look dead.
_shared_memory = Path("/dev/shm")  # noqa: S108 - gunicorn makes unnamed files there
worker_tmp_dir = str(_shared_memory) if _shared_memory.is_dir() else None
logger_class = LoggerWithoutAccessLog
logconfig_dict = dict_config(settings.log_level, settings.log_format, redaction, buffer=True)
loglevel = settings.log_level.lower()


def on_starting(server: Arbiter) -> None:
    """Refuse gunicorn options that contradict the settings. Then prepare the folder of the workers' metrics."""
    try:
        gunicorn_options.refuse(server.cfg, _ours)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(WRONG_SETTING) from None
    # A new one for each master, whatever it inherits: counts of processes that are gone with an earlier one would be
    # added to those of these. prometheus_client looks at the variable when it is imported, in the workers.
    os.environ.pop(_METERS, None)
    try:
        os.environ[_METERS] = str(new_folder("payments-metrics-", Path(worker_tmp_dir or tempfile.gettempdir())))
    except OSError as error:
        logger.error(_NOT_SHARED, error)  # noqa: TRY400 - it says all that a traceback could


def when_ready(server: Arbiter) -> None:
    """Refuse inherited public sockets, as from systemd, when a loopback PAYMENTS_BIND means no API keys."""
    for listener in server.LISTENERS:
        name = listener.getsockname()
        if settings.bind.is_loopback and not (isinstance(name, tuple) and BindAddress(name[0], name[1]).is_loopback):
            sys.stderr.write(f"PAYMENTS_BIND is {settings.bind}, and gunicorn was handed a socket at {name}\n")
            raise SystemExit(WRONG_SETTING)


def on_exit(_server: Arbiter) -> None:
    """Leave nothing of the metrics behind."""
    if _METERS in os.environ:
        shutil.rmtree(os.environ[_METERS], ignore_errors=True)


def child_exit(server: Arbiter, worker: Worker) -> None:
    """What a dead worker has counted stays; what it was in the middle of does not. Never raises: this is the master."""
    if _METERS not in os.environ:
        return
    _dead.add(int(worker.pid))
    _dead.difference_update(server.WORKERS)  # an id may be somebody else's by now
    try:
        from api.metrics.dead import add_up

        add_up(Path(os.environ[_METERS]), _dead)
    except FileNotFoundError:  # nothing is left to be added up
        _dead.clear()
    except Exception:
        logger.exception("what dead workers have counted cannot be added up")


def post_fork(_server: Arbiter, worker: Worker) -> None:
    """Tell the worker when its master dies, so that it lets go of the port at once: the next master waits for it.

    Then see to its metrics, before anything imports prometheus_client. They may keep no worker from starting.
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
        logger.error(_NOT_SHARED, error)  # noqa: TRY400 - it says all that a traceback could
        del os.environ[_METERS]
        if "prometheus_client" in sys.modules:  # inherited: the master needs it when a worker has died
            from prometheus_client import values

            values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def post_worker_init(worker: Worker) -> None:
    """Start the service, in the worker and after gevent has patched it."""
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
    """Stop the service after the last request, or at once when gunicorn was asked to be quick or its master died."""
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

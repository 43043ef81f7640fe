"""The composition root: settings, store, gateways, actors and app, put together in the order of their needs.

``gunicorn wsgi:app`` loads this file in each worker; gunicorn.conf.py then calls ``service.start``.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import orjson
from gevent import monkey
from gevent.threadpool import ThreadPool

from actors.listeners import Listeners, LogListener
from actors.operations.callback import gateway_of
from actors.runtime.runtime import LiveRuntime
from actors.service import ServiceFacade
from actors.system import PaymentSystem, SystemSettings
from api.app import create_app
from api.headers import REPEATED, UNDERSCORED
from api.metrics.listener import MetricsListener
from api.metrics.meters import Meters
from api.metrics.sampling import Sampler
from api.problems import MEDIA_TYPE, ProblemError, by_status
from api.tracing import random_request_id
from config import gateways_file
from config.log_writer import lost_lines
from config.logging import InfoLines
from config.redaction import hide
from config.settings import CHECKOUT, Role, Settings, SettingsError, Withdrawals
from domain.money import MoneyError
from gateways.registry import build_gateways, callback_secrets, read_settings, with_development_secret
from gateways.settings import GatewaySettingsError
from messaging.local import LocalQueue
from server import gunicorn_options
from store.backend import PaymentStore
from store.backends import backend_of
from store.errors import StoreError, StoreUnavailableError

logger: Final = logging.getLogger(__name__)

DRAIN_S: Final = 8.0
"""How long a stopping service waits for the calls that are out; their outcomes are looked up by the next otherwise."""

START_AGAIN_S: Final = 2.0
"""Wait before a store that could not be opened is tried again."""
GC_THRESHOLDS: Final = (50_000, 20, 50)
"""New objects before a search for garbage, and how many of these before a wider and a full one."""


if TYPE_CHECKING:
    from wsgiref.types import StartResponse

T = TypeVar("T")

_ABOUT_THE_START: Final = frozenset({"/healthz", "/readyz"})


class _StoppedError(Exception):
    """The service was stopped while it was starting."""


class _StoreToCome:
    """Stands for the store until it is open: whoever asks is told to come back."""

    def __init__(self) -> None:
        self.store: PaymentStore | None = None

    def __getattr__(self, name: str) -> object:
        if self.store is None:
            raise StoreUnavailableError("the service is starting")
        return getattr(self.store, name)


class Service:
    """One worker process; ``environ`` holds the secrets of callbacks. Commands are "not stored" until it is ready."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._options = read_settings(gateways_file.read(settings.gateways_file))
        secrets = callback_secrets(self._options, environ, loopback=settings.bind.is_loopback)
        hide(*(secret for live in secrets.values() for secret in live))
        self._gateways = build_gateways(self._options, secrets)
        self._forgeable = with_development_secret(secrets)
        self._meters = Meters(self._gateways)
        self._backend = backend_of(settings.database_url, root=CHECKOUT)
        self._store = _StoreToCome()
        self._runtime = LiveRuntime()
        self._listener = Listeners(LogListener(InfoLines("payments").write), MetricsListener(self._meters))
        self._facade = ServiceFacade(
            self._runtime,
            self._gateways,
            self._listener,
            request_deadline_s=settings.request_deadline_s,
            commands_max=settings.commands_max,
        )
        self._system: PaymentSystem | None = None
        self._open = ExitStack()
        self._problem = ""
        self._stopped = threading.Event()
        self._begun = threading.Event()
        """The start has come to its end, or met trouble."""
        self.app = create_app(
            self._facade,
            cast("PaymentStore", self._store),
            default_currency=settings.default_currency,
            checked_withdrawals=settings.withdrawals is Withdrawals.CHECKED,
            needs_keys=settings.auth_required,
            meters=self._meters,
        )

    def start(self, connections: Callable[[], int]) -> None:
        """Start in the background: waiting for the store must not hold up the worker's own beat.

        ``connections`` tells how many the worker has open.
        """
        threading.Thread(target=self._start, args=[connections], name="start", daemon=True).start()

    def _start(self, connections: Callable[[], int]) -> None:
        try:
            self._start_in_order(connections)
        except _StoppedError:
            logger.info("stopped before it was ready")
            self._begun.set()
        except Exception:
            self._facade.report_problem("The service could not start; its log says why.")
            logger.exception("the service could not start")
            self._begun.set()

    def _start_in_order(self, connections: Callable[[], int]) -> None:
        settings = self._settings
        backend = self._backend
        self._open.enter_context(
            self._until_it_works(
                lambda: backend.lock(sleep=self._sleep_unless_stopped, on_wait=self._say_that_it_waits)
            )
        )
        if backend.exclusive:
            self._until_it_works(backend.migrate)
        runtime = self._runtime
        store = self._until_it_works(lambda: backend.open(clock=runtime.now, offload=_offload()))
        self._open.callback(store.close)
        system = PaymentSystem(
            service=self._facade,
            runtime=runtime,
            store=store,
            queue=LocalQueue(),
            gateways={name: (gateway, self._options[name]) for name, gateway in self._gateways.items()},
            settings=SystemSettings(
                passivate_after_s=settings.passivate_after_s,
                lease_s=settings.lease_s,
                dead_letter_first_s=settings.dead_letter_first_s,
                dead_letter_max_s=settings.dead_letter_max_s,
                dead_letter_attempts=settings.dead_letter_attempts,
                load_threads=backend.load_threads,
                processing=settings.role is not Role.API,
            ),
            listener=self._listener,
            exclusive=settings.sqlite_path is not None,
        )
        self._store.store, self._system = store, system  # before it starts, so that a stop finds it
        self._until_it_works(system.start)
        Sampler(self._meters, system.stats, connections, lost_lines, runtime.after).sample()
        for (gateway, state), count in sorted(store.work_counts().items()):
            if gateway_of(gateway) not in self._options:
                logger.error(
                    "unfinished work of a gateway that is not configured: nobody does it",
                    extra={"fields": {"gateway": gateway, "state": state, "count": count}},
                )
        self._warn_of_short_settling()
        for gateway in self._forgeable:
            logger.warning(
                "callbacks are signed with the development secret, which everybody knows",
                extra={"fields": {"gateway": gateway}},
            )
        if settings.auth_required and not self._until_it_works(store.has_api_keys):
            logger.warning("there is no live API key, so nobody can call: manage.py keys create makes one")
        # What lives from here on lives long: 100,000 customers' actors must not be searched for garbage all the time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        logger.info("ready")
        self._begun.set()

    def _warn_of_short_settling(self) -> None:
        for name, built in self._gateways.items():
            options = self._options[name]
            if not built.honours_keys and options.settle_s < options.timeout_s:
                logger.warning(
                    "settle_s is short: what this gateway takes in later than that is paid twice",
                    extra={"fields": {"gateway": name, "settle_s": options.settle_s, "timeout_s": options.timeout_s}},
                )

    def _until_it_works(self, step: Callable[[], T]) -> T:
        """Try ``step`` again while the store fails: a disk may be mounted yet. Raises _StoppedError."""
        while True:
            try:
                return step()
            except StoreError as error:
                problem = f"The store cannot be opened: {error}"
                if problem != self._problem:
                    logger.critical(problem)
                self._problem = problem
                self._facade.report_problem(problem)
                self._begun.set()
                self._sleep_unless_stopped(START_AGAIN_S)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI application. Who comes while the service starts waits, and is told "not stored" for trouble only."""
        if not self._begun.is_set() and environ["PATH_INFO"] not in _ABOUT_THE_START:
            self._begun.wait(self._settings.request_deadline_s)
        connection = environ.get("gunicorn.socket")  # one of server.worker's
        environ[REPEATED] = getattr(connection, "repeated_headers", ())
        environ[UNDERSCORED] = getattr(connection, "underscored_headers", ())
        return self.app(environ, start_response)

    def unreadable(self, status: int, detail: str) -> tuple[str, str, bytes]:
        """The id, media type and body of the answer to what never became a request; for the worker. It is counted."""
        self._meters.unreadable_requests.labels(str(status)).inc()
        return random_request_id(), MEDIA_TYPE, orjson.dumps(ProblemError(by_status(status), detail).body())

    def drain(self) -> None:
        """Not ready any more, and nothing new goes out to gateways; requests that still come are answered."""
        self._facade.begin_stopping()
        self._stopped.set()
        if self._system is not None:
            self._system.drain()

    def stop(self) -> None:
        """After the last request: wait for the calls that are out, give the rest back, and close everything."""
        self.drain()
        system, runtime = self._system, self._runtime
        if system is not None:
            deadline = time.monotonic() + DRAIN_S
            while not system.at_rest and time.monotonic() < deadline:
                time.sleep(0.02)
            try:
                system.retire()
            except StoreError as error:
                logger.warning("leases could not be given back: %s", error)
        runtime.stop(timeout_s=1.0)
        self._meters.tallies.flush()
        for gateway in self._gateways.values():
            gateway.close()
        self._open.close()
        logger.info("stopped")

    def _sleep_unless_stopped(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise _StoppedError

    def _say_that_it_waits(self) -> None:
        self._facade.report_problem("Another process still uses the database.")
        self._begun.set()
        logger.warning("another process still uses %s: waiting for its end", self._backend.file)


def _offload() -> Callable[[Callable[[], None]], None]:
    """Under gevent, whatever blocks in C goes through a native thread, so that other greenlets go on."""
    if not monkey.is_module_patched("threading"):
        return lambda function: function()
    pool = ThreadPool(1)

    def run(function: Callable[[], None]) -> None:
        pool.apply(function)

    return run


def _create() -> Service:
    if "gunicorn.app.wsgiapp" in sys.modules and not gunicorn_options.in_force:
        from gunicorn.arbiter import Arbiter  # noqa: PLC0415 (of no use without gunicorn)

        sys.stderr.write(
            f"wsgi:app runs only with its own gunicorn.conf.py: start gunicorn in {CHECKOUT} without -c,"
            f" or with -c {CHECKOUT / 'gunicorn.conf.py'}\n"
        )
        raise SystemExit(Arbiter.APP_LOAD_ERROR)
    try:
        return Service(Settings.from_environ(os.environ), os.environ)
    except (SettingsError, GatewaySettingsError) as error:
        problem = str(error)
    except MoneyError as error:
        problem = f"PAYMENTS_DEFAULT_CURRENCY: {error}"
    sys.stderr.write(f"{problem}\n")
    raise SystemExit(2)


service = _create()
app = service

"""The composition root: the parts of a worker, and the steps of their start in dependency order.

``gunicorn wsgi:app`` loads this file in each worker; gunicorn.conf.py then calls ``service.start``.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from platform import node

from actors.listeners import Listeners, LogListener
from actors.process import ActorProcess
from actors.runtime.runtime import LiveRuntime
from api.app import create_app
from api.callers import warn_without_keys
from api.headers import REPEATED, UNDERSCORED
from api.metrics.listener import MetricsListener
from api.metrics.meters import Meters
from api.metrics.relays import RelayMeters
from api.metrics.sampling import Sampler
from api.resources.event_documents import EventDocuments
from api.unreadable import UnreadableRequests
from config import gateways_file
from config.log_writer import lost_lines
from config.logging import InfoLines
from config.redaction import hide
from config.settings import CHECKOUT, EventsMode, Role, Settings, SettingsError, Withdrawals
from domain.money import MoneyError
from gateways.registry import Gateways
from gateways.settings import GatewaySettingsError
from messaging import asyncapi, schemas
from messaging.brokers import BROKERS
from messaging.cloud_events import CloudEvents
from messaging.local import LocalQueue
from messaging.process import Duties, MessagingProcess
from messaging.relay import RELAY_OF_EVENTS
from server import garbage, gunicorn_options
from server.application import Application, HeaderKeys
from server.lifecycle import Lifecycle, Step
from server.offload import offload
from store.backends import backend_of
from store.errors import StoreError
from store.service import ServiceStore

logger = logging.getLogger("payments")


def compose(settings: Settings, environ: Mapping[str, str]) -> Application:
    """Put the parts together; nothing is opened yet. ``environ`` holds the secrets of callbacks.

    Raises SettingsError, GatewaySettingsError, MoneyError.
    """
    tables = gateways_file.read(settings.gateways_file)
    gateways = Gateways.configured(
        tables, environ, loopback=settings.bind.is_loopback, callbacks=settings.serves_clients
    )
    hide(*gateways.secret_texts)
    meters = Meters(gateways.by_name)
    relay_meters = RelayMeters(meters)
    listener = Listeners(LogListener(InfoLines("payments").write), MetricsListener(meters))
    runtime, backend = LiveRuntime(), backend_of(settings.database_url, root=CHECKOUT)
    store = ServiceStore(backend, clock=runtime.now, offload=offload())
    messaging, queue = _messaging(settings, exclusive=backend.exclusive), LocalQueue()
    actors = ActorProcess(runtime, gateways.with_settings, settings, listener, queue, processing=settings.processes)
    api = create_app(
        actors.service,
        store.queries,
        default_currency=settings.default_currency,
        checked_withdrawals=settings.withdrawals is Withdrawals.CHECKED,
        needs_keys=settings.auth_required,
        event_documents=EventDocuments(
            schemas.documents(settings.public_url), asyncapi.document(settings.public_url, asyncapi.channels(BROKERS))
        ),
        serves_clients=settings.serves_clients,
        meters=meters,
        relays=() if settings.broker_url is None else (RELAY_OF_EVENTS,),
    )
    lifecycle = Lifecycle(actors.service, retried=StoreError, problem="The store cannot be opened")

    def build() -> None:
        actors.build(store.opened, exclusive=backend.exclusive, load_threads=backend.load_threads)

    def meet_others(messaging: MessagingProcess) -> None:
        messaging.start(
            store.opened,
            owner=f"{node()}/{runtime.new_id()}",
            make_messages=CloudEvents(store.opened, settings.public_url).messages,
            gateways=gateways.by_name,
            handler=queue.announce,
            lease_s=settings.lease_s,
            monotonic=runtime.monotonic,
            meters=relay_meters,
        )

    def steps(connections: Callable[[], int]) -> Sequence[Step]:
        sampler = Sampler(meters, actors.stats, connections, lost_lines, runtime.after, also=relay_meters.sample)
        return (
            Step("metrics", stop=meters.tallies.flush),
            Step("store lock", lambda: store.lock(lifecycle.pause, lifecycle.report_problem), stop=store.unlock),
            Step("tables", store.migrate),
            Step("store", store.open, stop=store.close),
            Step("gateways", gateways.warn, stop=gateways.close),
            Step("queue", stop=queue.close),
            Step("actors", build, stop=actors.end),
            Step("work", actors.start, drain=actors.drain, stop=actors.stop),
            _messaging_step(settings, messaging, meet_others),
            Step("sampler", sampler.sample),
            Step("unconfigured gateways", actors.report_unconfigured),
            Step("API keys", lambda: warn_without_keys(store.queries, needed=needs_keys)),
            Step("garbage collection", garbage.freeze),
        )

    needs_keys = settings.auth_required and settings.serves_clients
    wait_s, header_keys = settings.request_deadline_s, HeaderKeys(REPEATED, UNDERSCORED)
    return Application(
        api, lifecycle, steps, wait_s=wait_s, header_keys=header_keys, unreadable=UnreadableRequests(meters)
    )


def _messaging(settings: Settings, *, exclusive: bool) -> MessagingProcess | None:
    """The broker's side of the process; None without a broker. Raises SettingsError.

    Work is handed out over the broker only where other processes can claim it.
    """
    if settings.broker_url is None:
        return None
    shared = not exclusive
    duties = Duties(settings.relays, announces=shared and settings.relays, processes=shared and settings.processes)
    structured = settings.events_mode is EventsMode.STRUCTURED
    try:
        return MessagingProcess(settings.broker_url, duties, structured=structured)
    except ValueError as error:
        raise SettingsError(f"PAYMENTS_BROKER_URL {error}") from None


def _messaging_step(
    settings: Settings, messaging: MessagingProcess | None, start: Callable[[MessagingProcess], None]
) -> Step:
    """Relay, announcer of work and hints. Each connects on a thread of its own."""
    problem = _relay_problem(settings) if settings.role is Role.RELAY else None
    if problem is not None:
        logger.warning(problem)
    if messaging is None:
        return Step("broker")
    return Step("broker", lambda: start(messaging), drain=messaging.drain, stop=messaging.stop)


def _relay_problem(settings: Settings) -> str | None:
    """What a relay lacks, although it starts."""
    if settings.broker_url is None:
        return "there is no PAYMENTS_BROKER_URL: this relay publishes nothing"
    if settings.has_own_address:
        return "PAYMENTS_PUBLIC_URL is not set: events name this relay as the server of their schemas, which it is not"
    return None


def _create() -> Application:
    gunicorn_options.require_in_force(CHECKOUT)
    try:
        return compose(Settings.from_environ(os.environ), os.environ)
    except (SettingsError, GatewaySettingsError) as error:
        problem = str(error)
    except MoneyError as error:
        problem = f"PAYMENTS_DEFAULT_CURRENCY: {error}"
    sys.stderr.write(f"{problem}\n")
    raise SystemExit(2)


service = app = _create()

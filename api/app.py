"""The factory of the WSGI application. It takes all collaborators as arguments and reads no environment."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import falcon

from actors.payments import Payments
from api import error_handlers, openapi
from api.callers import Callers, KnownKeys
from api.execution import CommandContext
from api.metrics.http import RequestMeters
from api.metrics.meters import Meters
from api.resources.documentation import OpenApiResource, SwaggerAssetResource, ToSwaggerResource
from api.resources.event_documents import EventDocuments
from api.routes import routes
from api.screening.envelope import Screening
from api.tracing import RequestIds, random_request_id
from domain.money import exponent_of
from store.queries import Queries

App = falcon.App[falcon.Request, falcon.Response]

PROCESS_ROUTES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""The routes of every process, whatever its role is."""


def create_app(
    payments: Payments,
    queries: Queries,
    *,
    default_currency: str,
    needs_keys: bool,
    event_documents: EventDocuments,
    checked_withdrawals: bool = True,
    serves_clients: bool = True,
    new_request_id: Callable[[], str] = random_request_id,
    meters: Meters | None = None,
    relays: Collection[str] = (),
) -> App:
    """Make the application. Raises MoneyError for an unknown ``default_currency``.

    ``checked_withdrawals``: whether a withdrawal needs a balance in this service. ``needs_keys``: whether clients need
    API keys. ``event_documents``: the documents for consumers of published events. ``meters``: the content of
    ``/metrics``; None: new meters, which only requests change. ``serves_clients``: whether there are more
    routes than ``PROCESS_ROUTES``. ``relays``: the relays that should publish, because there is a broker.
    """
    meters = Meters() if meters is None else meters
    exponent_of(default_currency)
    callers = Callers(KnownKeys(queries) if needs_keys else None)
    context = CommandContext(
        payments=payments, queries=queries, default_currency=default_currency, checked=checked_withdrawals
    )
    document = OpenApiResource()
    table = routes(
        payments,
        queries,
        callers,
        meters,
        context=context,
        document=document,
        for_consumers=event_documents,
        sees_all=not needs_keys,
        relays=relays,
    )
    document.document = openapi.build(table, needs_keys=needs_keys)

    app: App = falcon.App(middleware=[RequestMeters(meters), Screening(), RequestIds(new_request_id), callers])
    error_handlers.install(app)
    for path, resource in table:
        if serves_clients or path in PROCESS_ROUTES:
            _serve(app, path, resource)
    if not serves_clients:
        return app
    _serve(app, "/swagger/{asset}", SwaggerAssetResource())
    for path in ("/", "/swagger", "/swagger/"):
        _serve(app, path, ToSwaggerResource())
    return app


def _serve(app: App, path: str, resource: object) -> None:
    """Route ``path`` to ``resource``. HEAD is served like GET; Falcon omits the body."""
    on_get = getattr(resource, "on_get", None)
    if on_get is not None:
        setattr(resource, "on_head", on_get)  # noqa: B010  # no resource declares it
    app.add_route(path, resource)

"""The application as a pure factory: collaborators in, a WSGI application out. Reads no environment."""

from __future__ import annotations

from collections.abc import Callable

import falcon

from actors.payments import Payments
from api import error_handlers, openapi
from api.callers import Callers, KnownKeys
from api.metrics.http import RequestMeters
from api.metrics.meters import Meters
from api.metrics.store import StoreCollector
from api.operations import Documented
from api.resources.callbacks import CallbackResource
from api.resources.commands import DepositResource, Till, WithdrawalResource
from api.resources.corrections import AdjustmentResource, ResolutionResource
from api.resources.customers import CustomerEventsResource, CustomerResource
from api.resources.dead_letter_orders import DiscardResource, RetryDeadLetterResource, RetryDeadLettersResource
from api.resources.dead_letters import DeadLetterResource, DeadLettersResource
from api.resources.documentation import (
    INDEX,
    OpenApiResource,
    SwaggerAssetResource,
    SwaggerPageResource,
    ToSwaggerResource,
)
from api.resources.events import EventsResource, Feed
from api.resources.gateways import BreakerResource, GatewayResource, GatewaysResource
from api.resources.health import HealthResource, ReadinessResource
from api.resources.metrics import MetricsResource
from api.resources.reviews import CloseReviewResource, ReviewResource, ReviewsResource
from api.resources.transactions import TransactionResource, TransactionsResource
from api.resources.waiting_callbacks import WaitingCallbackResource, WaitingCallbacksResource
from api.screening.envelope import Screening
from api.tracing import RequestIds, random_request_id
from domain.money import exponent_of
from store.queries import Queries

App = falcon.App[falcon.Request, falcon.Response]


def create_app(
    payments: Payments,
    queries: Queries,
    *,
    default_currency: str,
    needs_keys: bool,
    checked_withdrawals: bool = True,
    new_request_id: Callable[[], str] = random_request_id,
    meters: Meters | None = None,
) -> App:
    """The whole API. ``default_currency`` is meant when a command names none; raises MoneyError for an unknown one.

    ``checked_withdrawals``: whether a withdrawal needs a balance here, or balances are kept elsewhere. ``needs_keys``:
    whether callers must show an API key. ``meters``: what ``/metrics`` shows; None: meters of its own, which only
    requests move.
    """
    meters = Meters() if meters is None else meters
    exponent_of(default_currency)
    till = Till(payments=payments, queries=queries, default_currency=default_currency, checked=checked_withdrawals)
    callers = Callers(KnownKeys(queries) if needs_keys else None)
    document = OpenApiResource()
    documented: tuple[tuple[str, Documented], ...] = (
        ("/v1/deposit", DepositResource(till)),
        ("/v1/withdrawal", WithdrawalResource(till)),
        ("/v1/transactions/{transaction_id}", TransactionResource(queries)),
        ("/v1/transactions/{transaction_id}/resolution", ResolutionResource(payments, queries)),
        ("/v1/transactions", TransactionsResource(payments, queries)),
        ("/v1/customers/{customer_id}", CustomerResource(queries)),
        ("/v1/customers/{customer_id}/events", CustomerEventsResource(queries, sees_all=not needs_keys)),
        ("/v1/customers/{customer_id}/adjustments", AdjustmentResource(payments, queries)),
        (
            "/v1/events",
            EventsResource(Feed(queries, payments.is_stopping), queries, callers, sees_all=not needs_keys),
        ),
        ("/v1/callbacks/{name}", CallbackResource(payments)),
        ("/v1/waiting-callbacks", WaitingCallbacksResource(payments, queries)),
        ("/v1/waiting-callbacks/{callback_id}", WaitingCallbackResource(queries)),
        ("/v1/reviews", ReviewsResource(queries)),
        ("/v1/reviews/{review_id}", ReviewResource(queries)),
        ("/v1/reviews/{review_id}/close", CloseReviewResource(payments, queries)),
        ("/v1/gateways", GatewaysResource(payments)),
        ("/v1/gateways/{name}", GatewayResource(payments)),
        ("/v1/gateways/{name}/breaker", BreakerResource(payments)),
        ("/v1/dead-letters", DeadLettersResource(payments, queries)),
        ("/v1/dead-letters/retry", RetryDeadLettersResource(payments)),
        ("/v1/dead-letters/{dead_letter_id}", DeadLetterResource(queries)),
        ("/v1/dead-letters/{dead_letter_id}/retry", RetryDeadLetterResource(payments, queries)),
        ("/v1/dead-letters/{dead_letter_id}/discard", DiscardResource(payments, queries)),
        ("/healthz", HealthResource()),
        ("/readyz", ReadinessResource(payments)),
        ("/metrics", MetricsResource(meters, StoreCollector(queries, payments.gateway_currencies))),
        ("/openapi.json", document),
        (INDEX, SwaggerPageResource()),
    )
    document.document = openapi.build(documented, needs_keys=needs_keys)

    app: App = falcon.App(
        middleware=[RequestMeters(meters), Screening(), RequestIds(new_request_id), callers],
    )
    error_handlers.install(app)
    for path, resource in documented:
        _serve(app, path, resource)
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

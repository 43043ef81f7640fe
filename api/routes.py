"""The route table: every documented path with its resource. A new route is one line here."""

from __future__ import annotations

from collections.abc import Collection

from actors.payments import Payments
from api.callers import Callers
from api.execution import CommandContext
from api.metrics.meters import Meters
from api.metrics.store import StoreCollector
from api.operations import Documented
from api.resources import (
    callbacks,
    children,
    commands,
    corrections,
    customers,
    dead_letter_commands,
    dead_letters,
    documentation,
    event_documents,
    events,
    gateways,
    health,
    metrics,
    reviews,
    transactions,
    waiting_callbacks,
)
from store.queries import Queries

Route = tuple[str, Documented]


def routes(
    payments: Payments,
    queries: Queries,
    callers: Callers,
    meters: Meters,
    *,
    context: CommandContext,
    document: documentation.OpenApiResource,
    for_consumers: event_documents.EventDocuments,
    sees_all: bool,
    relays: Collection[str],
) -> tuple[Route, ...]:
    """All documented routes. ``sees_all``: events show global positions, as no API keys are required.

    ``relays``: those that should publish events, for ``/metrics``.
    """
    return (
        ("/v1/deposit", commands.DepositResource(context)),
        ("/v1/withdrawal", commands.WithdrawalResource(context)),
        ("/v1/transactions/{transaction_id}", transactions.TransactionResource(queries)),
        ("/v1/transactions/{transaction_id}/resolution", corrections.ResolutionResource(payments, queries)),
        ("/v1/transactions/{transaction_id}/refunds", children.RefundsResource(context)),
        ("/v1/transactions/{transaction_id}/captures", children.CapturesResource(context)),
        ("/v1/transactions/{transaction_id}/voids", children.VoidsResource(context)),
        ("/v1/transactions/{transaction_id}/children", children.ChildrenResource(queries)),
        ("/v1/transactions", transactions.TransactionsResource(payments, queries)),
        ("/v1/customers/{customer_id}", customers.CustomerResource(queries)),
        ("/v1/customers/{customer_id}/events", customers.CustomerEventsResource(queries, sees_all=sees_all)),
        ("/v1/customers/{customer_id}/adjustments", corrections.AdjustmentResource(payments, queries)),
        (
            "/v1/events",
            events.EventsResource(events.Feed(queries, payments.is_stopping), queries, callers, sees_all=sees_all),
        ),
        ("/v1/callbacks/{name}", callbacks.CallbackResource(payments)),
        ("/v1/waiting-callbacks", waiting_callbacks.WaitingCallbacksResource(payments, queries)),
        ("/v1/waiting-callbacks/{callback_id}", waiting_callbacks.WaitingCallbackResource(queries)),
        ("/v1/reviews", reviews.ReviewsResource(queries)),
        ("/v1/reviews/{review_id}", reviews.ReviewResource(queries)),
        ("/v1/reviews/{review_id}/close", reviews.CloseReviewResource(payments, queries)),
        ("/v1/gateways", gateways.GatewaysResource(payments)),
        ("/v1/gateways/{name}", gateways.GatewayResource(payments)),
        ("/v1/gateways/{name}/breaker", gateways.BreakerResource(payments)),
        ("/v1/dead-letters", dead_letters.DeadLettersResource(payments, queries)),
        ("/v1/dead-letters/retry", dead_letter_commands.RetryDeadLettersResource(payments)),
        ("/v1/dead-letters/{dead_letter_id}", dead_letters.DeadLetterResource(queries)),
        ("/v1/dead-letters/{dead_letter_id}/retry", dead_letter_commands.RetryDeadLetterResource(payments, queries)),
        ("/v1/dead-letters/{dead_letter_id}/discard", dead_letter_commands.DiscardResource(payments, queries)),
        ("/healthz", health.HealthResource()),
        ("/readyz", health.ReadinessResource(payments)),
        (
            "/metrics",
            metrics.MetricsResource(meters, StoreCollector(queries, payments.gateway_currencies, relays=relays)),
        ),
        ("/openapi.json", document),
        ("/asyncapi.json", event_documents.AsyncApiResource(for_consumers.asyncapi)),
        ("/schemas/{schema_file}", event_documents.EventSchemaResource(for_consumers.schemas)),
        (documentation.INDEX, documentation.SwaggerPageResource()),
    )

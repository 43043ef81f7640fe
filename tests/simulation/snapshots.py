"""The content of the store at one moment, as entries of the history."""

from __future__ import annotations

from domain.events import Kind
from store.queries import Auditable
from tests.simulation.history import History


def dump(store: Auditable, history: History, at: float, when: str) -> None:
    """Add every stream to the history."""
    with store.audit() as audit:
        for stream in audit.streams():
            events = [
                {
                    "id": event.event_id,
                    "version": event.version,
                    "type": event.type,
                    "body": event.body.decode(),
                    "hash": event.hash.hex(),
                }
                for event in audit.events(stream)
            ]
            history.add("dump", at, when=when, stream=list(stream), events=events)


def tables(store: Auditable, history: History, at: float, when: str) -> None:
    """Add every read table, and the owner of each piece of work, to the history."""
    with store.audit() as audit:
        for stream in audit.streams():
            history.add(
                "tables",
                at,
                when=when,
                stream=list(stream),
                transactions={
                    row.transaction_id: [row.status.value, row.gateway_reference] for row in audit.transactions(stream)
                },
                amounts={
                    row.transaction_id: [row.captured_minor, row.refunded_minor, row.refunding_minor]
                    for row in audit.transactions(stream)
                    if row.kind is Kind.DEPOSIT
                },
                balances={currency: [row.available, row.reserved] for currency, row in audit.balances(stream)},
                unfinished=list(audit.unfinished(stream)),
                reviews=[[review.transaction_id, review.state] for review in audit.reviews(stream)],
            )

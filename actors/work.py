"""A transaction's work: its first row and item, and what its payload carries."""

from __future__ import annotations

from typing import Final

import orjson

from domain.account import Transaction
from domain.events import Kind
from store.codec import Metadata
from store.port import Action, OpenWork, StreamKey, WorkItem

FIRST_TOKEN = 1
"""The token of work that was leased in the commit that opened it."""
_EVENT_TYPES: Final = {kind: f"{kind.value.capitalize()}Received" for kind in Kind}


def event_type_of(kind: Kind) -> str:
    """The type of the event that opens a transaction's work."""
    return _EVENT_TYPES[kind]


def write_context(metadata: Metadata, event_id: str) -> bytes:
    """The payload from which later events get their metadata: they are caused by event ``event_id``."""
    return orjson.dumps([metadata.correlation_id, event_id, metadata.traceparent])


def read_context(payload: bytes) -> Metadata:
    """The metadata of events that the work leads to. Unreadable metadata does not stop the work."""
    try:
        correlation_id, causation_id, traceparent = orjson.loads(payload)
        return Metadata(str(correlation_id), causation_id, traceparent)
    except (ValueError, TypeError):
        return Metadata("unknown")


def open_submit(transaction: Transaction, owner: str | None, payload: bytes) -> OpenWork:
    """The row of a new transaction's work, leased to ``owner`` or queued. Its id is the transaction's."""
    return OpenWork(
        transaction.transaction_id,
        transaction.transaction_id,
        transaction.gateway,
        Action.SUBMIT,
        event_type_of(transaction.kind),
        owner,
        payload,
    )


def lost_item(stream: StreamKey, transaction_id: str, kind: Kind, gateway: str) -> WorkItem:
    """The item of a transaction that may or may not be stored."""
    event_type = event_type_of(kind)
    return WorkItem(transaction_id, FIRST_TOKEN, stream, gateway, Action.SUBMIT, event_type, 0, (), None)


def first_item(stream: StreamKey, transaction: Transaction, payload: bytes) -> WorkItem:
    """The item for that row, once it is stored."""
    return WorkItem(
        work_id=transaction.transaction_id,
        token=FIRST_TOKEN,
        stream=stream,
        gateway=transaction.gateway,
        action=Action.SUBMIT,
        event_type=event_type_of(transaction.kind),
        attempts=0,
        errors=(),
        transaction=transaction,
        payload=payload,
    )

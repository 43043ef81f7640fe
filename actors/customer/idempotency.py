"""Idempotency keys: what a command claims with its key, and what whoever comes again with that key is told.

The claim is stored in the very commit of the command's event, so that there is one transaction for a key whatever
dies when. A refusal is claimed as well: it must not turn into a payment because it was asked for twice.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from actors.replies import Replayed
from domain.account import Refused
from store.errors import CorruptStoreError
from store.port import Claim

KEY_REUSED: Final = "idempotency-key-reused"
"""The code of the refusal of another command under a key that was used."""


class IdempotencyKey(NamedTuple):
    """At most one command of ``scope`` is carried out under ``key``; ``fingerprint`` tells it from others."""

    scope: str
    key: str
    fingerprint: str


def claim_of(once: IdempotencyKey, transaction_id: str, refused: Refused | None = None) -> Claim:
    """What is stored with the command: the transaction that it became, or why it was refused."""
    # The id stands in a refusal, too: it tells the refusal of a repetition from the first one's own, tried again.
    value: dict[str, Any] = {"fingerprint": once.fingerprint, "transaction_id": transaction_id}
    if refused is not None:
        value["refused"] = {"code": refused.code, "detail": refused.detail, "facts": dict(refused.facts)}
    return Claim(once.scope, once.key, orjson.dumps(value))


def replay(once: IdempotencyKey, held: Claim) -> Replayed | Refused:
    """What a command is told whose key is ``held`` already. Raises CorruptStoreError."""
    try:
        value = orjson.loads(held.value)
        if value["fingerprint"] != once.fingerprint:
            return Refused(KEY_REUSED, "The key was used for another command. Nothing was stored now.")
        if "refused" in value:
            return Refused(**value["refused"], replayed=True)
        return Replayed(str(value["transaction_id"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptStoreError(f"the claim of an idempotency key cannot be read: {error!r}") from error

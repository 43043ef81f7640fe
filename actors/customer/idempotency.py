"""Idempotency keys: the claim of a command's key, and the answer to a command whose key is claimed already.

The claim is stored in the commit of the command's event, so that a key has one transaction wherever a process dies. A
refusal is claimed as well: a repeated command that was refused must not become a payment.
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
    """At most one command of ``scope`` is carried out under ``key``; ``fingerprint`` identifies its content."""

    scope: str
    key: str
    fingerprint: str


def claim_of(key: IdempotencyKey, transaction_id: str, refused: Refused | None = None) -> Claim:
    """The claim stored with the command: the transaction that it became, or why it was refused."""
    # A refusal holds the id, too. It distinguishes a repetition from the first command, tried again.
    value: dict[str, Any] = {"fingerprint": key.fingerprint, "transaction_id": transaction_id}
    if refused is not None:
        value["refused"] = {"code": refused.code, "detail": refused.detail, "facts": dict(refused.facts)}
    return Claim(key.scope, key.key, orjson.dumps(value))


def replay(key: IdempotencyKey, held: Claim) -> Replayed | Refused:
    """The answer to a command whose key is ``held`` already. Raises CorruptStoreError."""
    try:
        value = orjson.loads(held.value)
        if value["fingerprint"] != key.fingerprint:
            return Refused(KEY_REUSED, "The key was used for another command. Nothing was stored now.")
        if "refused" in value:
            return Refused(**value["refused"], replayed=True)
        return Replayed(str(value["transaction_id"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptStoreError(f"the claim of an idempotency key cannot be read: {error!r}") from error

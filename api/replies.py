"""Replies of the actors as values or problems. The only HTTP part are the problems."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, assert_never

import falcon

from actors.replies import Accepted, Adjusted, Closed, NotStored, Replayed, Reply, Taken, Uncertain
from api.idempotency import REPLAYED
from api.problems import OUTCOME_UNKNOWN, PROBLEMS, REFUSED, ProblemError, unavailable
from api.tracing import request_id
from domain.account import Account, Refused, Transaction
from store.errors import CommitUncertainError, StoreError

log = logging.getLogger(__name__)


def accepted(reply: Reply) -> Transaction:
    """The transaction after the command. Raises ProblemError when the command was not accepted."""
    match reply:
        case Accepted(transaction=transaction):
            return transaction
        case Replayed(transaction_id=transaction_id):
            raise LookupError(transaction_id)  # the caller reads the current transaction instead
        case Refused(code=code, detail=detail, facts=facts, replayed=replayed):
            headers = {REPLAYED: "true"} if replayed else {}
            raise ProblemError(
                PROBLEMS.get(code) or REFUSED._replace(name=code), detail, headers=headers, **dict[str, Any](facts)
            )
        case NotStored(reason=reason, retry_after_s=retry_after_s):
            raise unavailable(reason, retry_after_s)
        case Uncertain(transaction_id=None):
            raise ProblemError(OUTCOME_UNKNOWN, "Check whether the command was executed before you send it again.")
        case Uncertain(transaction_id=transaction_id):
            raise ProblemError(
                OUTCOME_UNKNOWN,
                f"Get /v1/transactions/{transaction_id} later. It exists if the command was stored.",
                transaction_id=transaction_id,
            )
        case Adjusted() | Closed() | Taken():
            raise TypeError(f"{type(reply).__name__} is not a reply to this command")
        case _:
            assert_never(reply)


def closed(reply: Reply) -> None:
    """Check that the review was closed. Raises ProblemError."""
    if not isinstance(reply, Closed):
        accepted(reply)


def adjusted(reply: Reply) -> Account:
    """The account with the adjusted balance. Raises ProblemError when it was not adjusted."""
    if isinstance(reply, Adjusted):
        return reply.account
    accepted(reply)
    raise TypeError(f"{type(reply).__name__} is not a reply to an adjustment")


def replied(ask: Callable[[], Reply], req: falcon.Request, transaction_id: str | None) -> Reply:
    """Call ``ask``, which sends a command to the actors, and return the reply."""
    try:
        return ask()
    except Exception:  # the command may still be executed, so the outcome is uncertain
        log.exception(
            "a command ended without a reply",
            extra={"fields": {"transaction_id": transaction_id, "correlation_id": request_id(req)}},
        )
        return Uncertain(transaction_id)


@contextmanager
def reading_again(address: str, **extensions: object) -> Iterator[None]:
    """Translate errors of the read for the replay of a command.

    Raises ProblemError 504 when the store cannot be read: the command is stored, so 503 would be wrong.
    """
    try:
        yield
    except StoreError as error:
        log.warning("the record of an idempotency key cannot be read: %s", error)
        detail = f"The command is stored. Get {address} later, or repeat the command with the same key."
        raise ProblemError(OUTCOME_UNKNOWN, detail, **dict[str, Any](extensions)) from None


@contextmanager
def executing(address: str) -> Iterator[None]:
    """Translate errors of a command that is safe to repeat; ``address`` shows its result.

    Raises ProblemError: 503 when nothing was changed, 504 when that is not known.
    """
    try:
        yield
    except (TimeoutError, CommitUncertainError) as error:
        log.warning("whether a command was executed is not known: %s", error)
        detail = f"Get {address} to see the current state. It is safe to repeat the command."
        raise ProblemError(OUTCOME_UNKNOWN, detail) from None
    except StoreError as error:
        log.warning("a command was not executed: %s", error)
        raise unavailable("The store does not accept the command. Nothing was changed.") from None

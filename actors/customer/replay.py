"""What becomes of a request or report whose claim is held already: it, or something like it, was stored before."""

from __future__ import annotations

from actors.customer.batch import Pending
from actors.customer.idempotency import replay
from actors.messages import OutcomeReport, Request
from actors.operations.callback import REVIEW_SCOPES, CallbackReport, CallbackRequest
from actors.operations.operator_commands import AdjustRequest, CloseReviewRequest, is_own
from actors.replies import Replayed, Reply
from store.port import Claim


def repeated(source: Pending, held: Claim) -> Reply | None:
    """What whoever waits is told; None: it is decided on again, and knows by then what is held."""
    match source:
        case OutcomeReport() | CallbackReport():
            source.reviewed = True
        case CallbackRequest() if held.scope in REVIEW_SCOPES:
            source.reviewed = True
        case CallbackRequest():
            source.repeated = held.value
        case AdjustRequest() | CloseReviewRequest() if is_own(held):
            source.stored = True
        case Request(once=once) if once is not None:
            said = replay(once, held)
            # Its own is stored with its event, and that would be a conflict first.
            assert said != Replayed(source.transaction_id or "")
            return said
        case _:
            raise AssertionError(f"{type(source).__name__} claims nothing, and {held.scope!r} is held")
    return None

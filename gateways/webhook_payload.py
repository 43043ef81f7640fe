"""What a verified callback says, read so that nothing is guessed; each adapter knows where its members stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from domain.money import Money, MoneyError, parse_amount
from domain.outcomes import Approved, Declined, Outcome
from domain.strict_json import MalformedError, parse_object
from gateways.port import Unusable, Verbatim, WebhookPayload

_REFERENCE: Final = re.compile(r"[!-~]{1,200}")
_GATEWAY_REFERENCE: Final = re.compile(r"[!-~]{1,128}")  # the bound of the adapters' answers, too

STATUSES: Final[Mapping[str, str]] = MappingProxyType({status: status for status in ("completed", "failed")})

Members = Mapping[str, object]
"""A JSON object of a body."""


def read_notice(body: bytes, read: Callable[[Members], WebhookPayload | Unusable]) -> WebhookPayload | Unusable:
    """What ``read`` makes of the JSON object in ``body``."""
    try:
        members = parse_object(body)
    except MalformedError as error:
        return Unusable(f"its body cannot be read: {error}")
    return read(members)


def make_notice(
    *,
    reference: object,
    gateway_reference: object,
    status: object,
    amount: object,
    currency: object,
    statuses: Mapping[str, str] = STATUSES,
) -> WebhookPayload | Unusable:
    """The notice that the members of a body make, of whatever types; or why they make none.

    ``statuses``: the provider's words for ``completed`` and ``failed``.
    """
    verbatim = Verbatim(*map(_text, (reference, gateway_reference, status, amount, currency)))
    if not isinstance(reference, str) or _REFERENCE.fullmatch(reference) is None:
        return Unusable("it has no usable reference", None, verbatim)
    if not isinstance(gateway_reference, str) or _GATEWAY_REFERENCE.fullmatch(gateway_reference) is None:
        return Unusable("it has no usable transaction_id", reference, verbatim)
    money = _money(amount, currency)
    if money is None:
        return Unusable("it has no usable amount and currency", reference, verbatim)
    outcome = _outcome(statuses.get(status) if isinstance(status, str) else None, gateway_reference)
    if outcome is None:
        return Unusable("it has a status that is not known", reference, verbatim)
    return WebhookPayload(reference, gateway_reference, money, outcome, verbatim)


def _text(member: object) -> str | None:
    """A member as the provider words it, if it is a text or a number."""
    return str(member) if isinstance(member, str | int | Decimal) and not isinstance(member, bool) else None


def _outcome(status: str | None, gateway_reference: str) -> Outcome | None:
    """None for a status that is not known."""
    match status:
        case "completed":
            return Approved(gateway_reference, final=True)
        case "failed":
            return Declined("declined", None, "The gateway reported that it failed.")
        case _:
            return None


def _money(amount: object, currency: object) -> Money | None:
    """None when it is none. A JSON number is as good as its text: none of it is ever a binary fraction."""
    if not isinstance(amount, str | int | Decimal) or not isinstance(currency, str):
        return None
    try:
        return parse_amount(amount, currency)
    except MoneyError:
        return None

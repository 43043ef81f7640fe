"""Strict parsing of a verified callback. Each adapter passes the members of its own format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from domain.money import Money, MoneyError, parse_amount
from domain.outcomes import Approved, Authorization, Declined, Outcome
from domain.strict_json import MalformedError, parse_object
from gateways.authorizations import ended
from gateways.port import RawMembers, UnusablePayload, WebhookPayload

_REFERENCE: Final = re.compile(r"[!-~]{1,200}")
_GATEWAY_REFERENCE: Final = re.compile(r"[!-~]{1,128}")  # as in the adapters' responses

STATUSES: Final[Mapping[str, str]] = MappingProxyType(
    {status: status for status in ("completed", "failed", "authorized", "expired", "cancelled")}
)

Members = Mapping[str, object]
"""A JSON object of a body."""


def read_payload(
    body: bytes, read: Callable[[Members], WebhookPayload | UnusablePayload]
) -> WebhookPayload | UnusablePayload:
    """Parse the JSON object in ``body`` and pass it to ``read``."""
    try:
        members = parse_object(body)
    except MalformedError as error:
        return UnusablePayload(f"its body cannot be read: {error}")
    return read(members)


def make_payload(
    *,
    reference: object,
    gateway_reference: object,
    status: object,
    amount: object,
    currency: object,
    statuses: Mapping[str, str] = STATUSES,
) -> WebhookPayload | UnusablePayload:
    """Make the payload from members of any type; UnusablePayload with the reason when they are invalid.

    ``statuses``: the provider's words for ``completed`` and ``failed``, and for authorizations ``authorized``,
    ``expired`` and ``cancelled``.
    """
    raw = RawMembers(*map(_text, (reference, gateway_reference, status, amount, currency)))
    if not isinstance(reference, str) or _REFERENCE.fullmatch(reference) is None:
        return UnusablePayload("it has no usable reference", None, raw)
    if not isinstance(gateway_reference, str) or _GATEWAY_REFERENCE.fullmatch(gateway_reference) is None:
        return UnusablePayload("it has no usable transaction_id", reference, raw)
    money = _money(amount, currency)
    if money is None:
        return UnusablePayload("it has no usable amount and currency", reference, raw)
    outcome = _outcome(statuses.get(status) if isinstance(status, str) else None, gateway_reference)
    if outcome is None:
        return UnusablePayload("it has a status that is not known", reference, raw)
    return WebhookPayload(reference, gateway_reference, money, outcome, raw)


def _text(member: object) -> str | None:
    """A member as received, if it is a text or a number."""
    return str(member) if isinstance(member, str | int | Decimal) and not isinstance(member, bool) else None


def _outcome(status: str | None, gateway_reference: str) -> Outcome | None:
    """None for an unknown status."""
    match status:
        case "completed":
            return Approved(gateway_reference, final=True)
        case "failed":
            return Declined("declined", None, "The gateway reported that it failed.")
        case "authorized":
            return Authorization(gateway_reference)
        case _:
            return ended(status, gateway_reference)


def _money(amount: object, currency: object) -> Money | None:
    """None when it is invalid. A JSON number counts like its text: it is never parsed as a binary fraction."""
    if not isinstance(amount, str | int | Decimal) or not isinstance(currency, str):
        return None
    try:
        return parse_amount(amount, currency)
    except MoneyError:
        return None

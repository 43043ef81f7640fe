"""What a verified callback says, read so that nothing is guessed; each adapter knows where its members stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from domain.money import Money, MoneyError, parse_amount
from domain.outcomes import Approved, Declined, Outcome
from gateways.port import Notice, UnreadableError
from gateways.strict_json import MalformedError, parse_object

_REFERENCE: Final = re.compile(r"[!-~]{1,200}")
_GATEWAY_REFERENCE: Final = re.compile(r"[!-~]{1,128}")  # the bound of the adapters' answers, too


def read_object(body: bytes) -> Mapping[str, object]:
    """The JSON object in ``body``. Raises UnreadableError, behind which stands no error that quotes the body."""
    try:
        return parse_object(body)
    except MalformedError as error:
        problem = str(error)
    raise UnreadableError(f"its body cannot be read: {problem}")


def make_notice(
    *, reference: object, gateway_reference: object, status: object, amount: object, currency: object
) -> Notice:
    """The notice that the members of a body make, whatever type they came as. Raises UnreadableError."""
    if not isinstance(reference, str) or _REFERENCE.fullmatch(reference) is None:
        raise UnreadableError("it has no usable reference")
    if not isinstance(gateway_reference, str) or _GATEWAY_REFERENCE.fullmatch(gateway_reference) is None:
        raise UnreadableError("it has no usable transaction_id")
    money = _money(amount, currency)
    if money is None:
        raise UnreadableError("it has no usable amount and currency")
    return Notice(reference, gateway_reference, money, _outcome(status, gateway_reference))


def _outcome(status: object, gateway_reference: str) -> Outcome:
    match status:
        case "completed":
            return Approved(gateway_reference, final=True)
        case "failed":
            return Declined("declined", None, "The gateway reported that it failed.")
        case _:
            raise UnreadableError("it has a status that is not known")


def _money(amount: object, currency: object) -> Money | None:
    """None when it is none. A JSON number is as good as its text: none of it is ever a binary fraction."""
    if not isinstance(amount, str | int | Decimal) or not isinstance(currency, str):
        return None
    try:
        return parse_amount(amount, currency)
    except MoneyError:
        return None

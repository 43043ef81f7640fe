"""Masks card numbers in everything that comes from providers, around every adapter.

Providers have card numbers, and may repeat one in any text. Every text from them that is returned, stored or logged
passes here; see docs/decisions/0012-card-numbers.md.
"""

from __future__ import annotations

import hmac
import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

from domain.cards import masked, may_hold_card
from domain.gateway_report import TEXT_MAX, storable_text
from domain.outcomes import Approved, Authorization, Declined, NotReceived, NotSentError, Outcome, OutcomeUnknownError
from domain.references import CODE_BYTES
from domain.references import kept as kept_reference
from gateways.port import (
    Callbacks,
    Gateway,
    Notice,
    Order,
    RawMembers,
    SignatureInvalidError,
    UnusablePayload,
    WebhookPayload,
)

# An escape of JSON, or two for a surrogate pair.
_ESCAPE: Final = re.compile(
    r'\\(?:u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[0-9a-fA-F]{4})|["\\/bfnrt])'
)
# Characters that JSON must escape, and lone surrogates, which UTF-8 cannot encode.
_STAYS_ESCAPED: Final = re.compile('[\x00-\x1f"\\\\\ud800-\udfff]')
_STANDS_FOR_ESCAPE: Final = "\ud800"  # never in decoded text
# Strings, and possible numbers.
_JSON_VALUES: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[-+.0-9eE*]++', re.DOTALL)

_Result = TypeVar("_Result", Outcome, Outcome | NotReceived)


def kept(body: bytes) -> bytes:
    """The body of a callback for storage: byte for byte, except for the digits of card numbers.

    Digits and separators are found in UTF-8 and UTF-16, and in JSON escapes. JSON remains valid: a number with hidden
    digits becomes a string.
    """
    if b"\\" not in body and not may_hold_card(body):
        return body
    left: deque[str] = deque()

    def unescaped(escape: re.Match[str]) -> str:
        text: str = json.loads(f'"{escape[0]}"')
        if _STAYS_ESCAPED.search(text) is None:
            return text
        left.append(escape[0])
        return _STANDS_FOR_ESCAPE

    text = body.replace(b"\0", b"").decode("utf-8", "surrogateescape")
    plain = _ESCAPE.sub(unescaped, text)
    shown = masked(plain)
    if shown == plain:
        return body
    shown = shown if not left else _each_replaced(shown, left)
    if _is_json(text):
        shown = _JSON_VALUES.sub(_quoted, shown)
    return shown.encode("utf-8", "surrogateescape")


class MaskedGateway:
    """``gateway`` with masked outcomes and errors; see ``gateways.port.Gateway``.

    ``callback_keys``: the keys of its callbacks, newest first.
    """

    def __init__(self, gateway: Gateway, callback_keys: Sequence[bytes]) -> None:
        self.name = gateway.name
        self.currencies = gateway.currencies
        self.operations = gateway.operations
        self.holds = gateway.holds
        self.reference_form = gateway.reference_form
        inner = gateway.callbacks
        self._codes = _Codes(callback_keys, gateway.reference_form)
        self.callbacks = None if inner is None else MaskedCallbacks(inner, self._codes)
        self.adapter = gateway

    def submit(self, order: Order) -> Outcome:
        """Send ``order`` to the provider. Raises NotSentError, OutcomeUnknownError."""
        return _masked_call(lambda: self.adapter.submit(order), self._codes)

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Look up ``order`` at the provider. Raises NotSentError, OutcomeUnknownError without a definite answer."""
        return _masked_call(lambda: self.adapter.lookup(order), self._codes)

    def close(self) -> None:
        """Close pooled connections; calls in progress may still finish."""
        self.adapter.close()


class MaskedCallbacks:
    """``callbacks`` with masked card numbers; see ``gateways.port.Callbacks``."""

    def __init__(self, callbacks: Callbacks, codes: _Codes) -> None:
        self._callbacks = callbacks
        self._codes = codes
        self.acceptance = callbacks.acceptance

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Notice]:
        """Verify the callback, then parse it. Raises SignatureInvalidError."""
        try:
            notices = self._callbacks.read(headers, body, now)
        except SignatureInvalidError as error:
            raise SignatureInvalidError(masked(str(error))) from None
        return [Notice(self._event_id(each.event_id), kept(each.body), self._payload(each.payload)) for each in notices]

    def _event_id(self, event_id: str) -> str:
        """``event_id``, or its code when it reads as a card number.

        Two masked ids could be equal. Codes are as distinct as the ids, and do not reveal them.
        """
        if masked(event_id) == event_id:
            return event_id
        return f"coded-{self._codes.of(event_id).hex()}"

    def _payload(self, read: WebhookPayload | UnusablePayload) -> WebhookPayload | UnusablePayload:
        raw = self._plain(read.raw)
        if isinstance(read, UnusablePayload):
            reference = None if read.reference is None else masked(read.reference)
            return UnusablePayload(storable_text(read.problem), reference, raw)
        return WebhookPayload(
            masked(read.reference),
            self._codes.kept(read.gateway_reference),
            read.money,
            _masked_outcome(read.outcome, self._codes),
            raw,
        )

    def _plain(self, members: RawMembers) -> RawMembers:
        """Mask all members. The provider's reference keeps its code, as elsewhere, so that operators can compare it."""
        texts = [None if each is None else storable_text(each) for each in members]
        reference = members.gateway_reference
        if reference is not None and self._codes.is_declared(reference):
            texts[1] = reference[:TEXT_MAX]
        elif reference is not None and masked(reference) != reference:
            texts[1] = storable_text(self._codes.kept(reference[:TEXT_MAX]))
        return RawMembers(*texts)


class _Codes:
    """Codes that distinguish equally masked texts. ``keys``: the keys of the callbacks, newest first.

    ``reference_form``: see ``gateways.port.Gateway``.
    """

    def __init__(self, keys: Sequence[bytes], reference_form: re.Pattern[str] | None = None) -> None:
        self._reference_form = reference_form
        # The oldest live key: during a change of the secret, repetitions keep their codes. The key is never exposed.
        self._keyed = hmac.new(keys[-1] if keys else b"", digestmod="sha256")
        # A code under a public key would reveal the hidden digits with a million tries.
        self._of_reference = self._code_of_reference if keys else None

    def of(self, text: str) -> bytes:
        """The code of ``text``, which does not reveal it."""
        code = self._keyed.copy()
        code.update(text.encode())
        return code.digest()

    def kept(self, reference: str) -> str:
        """``reference`` as it is if it has the declared form, else see ``domain.references.kept``."""
        if self.is_declared(reference):
            return reference
        return kept_reference(reference, self._of_reference)

    def is_declared(self, reference: str) -> bool:
        """Whether ``reference`` has the form that its adapter declares."""
        return self._reference_form is not None and self._reference_form.fullmatch(reference) is not None

    def _code_of_reference(self, reference: str) -> bytes:
        return self.of(f"reference:{reference}")[:CODE_BYTES]


def _each_replaced(text: str, escapes: deque[str]) -> str:
    """``text`` with the escapes restored at their places."""
    return "".join(escapes.popleft() if char == _STANDS_FOR_ESCAPE else char for char in text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _quoted(value: re.Match[str]) -> str:
    """A JSON value, or a part of one; quoted if digits of a number are masked."""
    return value[0] if value[0].startswith('"') or "*" not in value[0] else f'"{value[0]}"'


def _masked_call(call: Callable[[], _Result], codes: _Codes) -> _Result:
    try:
        outcome = call()
    except (NotSentError, OutcomeUnknownError) as error:
        text = str(error)
        shown = masked(text)
        if shown != text:
            raise type(error)(shown) from None
        raise
    return outcome if isinstance(outcome, NotReceived) else _masked_outcome(outcome, codes)


def _masked_outcome(outcome: Outcome, codes: _Codes) -> Outcome:
    match outcome:
        case Approved(reference=reference) | Authorization(reference=reference):
            shown = codes.kept(reference)
            return outcome if shown == reference else replace(outcome, reference=shown)
        case Declined(code=code, message=message, reference=reference):
            known = None if reference is None else codes.kept(reference)
            return replace(outcome, code=masked(code), message=masked(message), reference=known)

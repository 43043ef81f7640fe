"""What every gateway says, without card numbers: the one way by which a provider's words come in, whatever adapter.

Providers know card numbers, and may repeat one in any text. What is told, kept or logged of their words has passed
here; see docs/decisions/0012-card-numbers.md.
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
from domain.outcomes import Approved, Declined, NotReceived, NotSentError, Outcome, OutcomeUnknownError
from domain.references import CODE_BYTES
from domain.references import kept as kept_reference
from domain.said import TEXT_MAX, plain
from gateways.port import Callbacks, Gateway, Order, Unusable, UnverifiedError, Verbatim, WebhookPayload

# An escape of JSON, or two for a surrogate pair.
_ESCAPE: Final = re.compile(
    r'\\(?:u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[0-9a-fA-F]{4})|["\\/bfnrt])'
)
# What JSON must escape, and halves of characters, which have no UTF-8.
_STAYS_ESCAPED: Final = re.compile('[\x00-\x1f"\\\\\ud800-\udfff]')
_STANDS_FOR_ESCAPE: Final = "\ud800"  # never in decoded text
# Strings, and what may be numbers.
_JSON_VALUES: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[-+.0-9eE*]++', re.DOTALL)

_Said = TypeVar("_Said", Outcome, Outcome | NotReceived)


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
    """``gateway``, whose outcomes and errors hold no card numbers; see ``gateways.port.Gateway``.

    ``callback_keys``: what its callbacks are signed with, newest first.
    """

    def __init__(self, gateway: Gateway, callback_keys: Sequence[bytes]) -> None:
        self.name = gateway.name
        self.currencies = gateway.currencies
        self.honours_keys = gateway.honours_keys
        self.looks_up = gateway.looks_up
        self.idempotency_window_s = gateway.idempotency_window_s
        inner = gateway.callbacks
        self._codes = _Codes(callback_keys)
        self.callbacks = None if inner is None else MaskedCallbacks(inner, self._codes)
        self.adapter = gateway

    def submit(self, order: Order) -> Outcome:
        """Ask the provider to move the money. Raises NotSentError, OutcomeUnknownError."""
        return _said(lambda: self.adapter.submit(order), self._codes)

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Ask what became of ``order``. Raises NotSentError, OutcomeUnknownError when that cannot be told now."""
        return _said(lambda: self.adapter.lookup(order), self._codes)

    def close(self) -> None:
        """Close pooled connections; calls under way may still finish."""
        self.adapter.close()


class MaskedCallbacks:
    """``callbacks``, which tell no card numbers; see ``gateways.port.Callbacks``."""

    def __init__(self, callbacks: Callbacks, codes: _Codes) -> None:
        self._callbacks = callbacks
        self._codes = codes

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The event id, or a code for it when it reads as a card number. Raises UnverifiedError.

        Masked, two such ids could be the same; the code is as different as they are, and nobody gets back from it.
        """
        try:
            event_id = self._callbacks.verify(headers, body, now)
        except UnverifiedError as error:
            raise UnverifiedError(masked(str(error))) from None
        if masked(event_id) == event_id:
            return event_id
        return f"coded-{self._codes.of(event_id).hex()}"

    def read(self, body: bytes) -> WebhookPayload | Unusable:
        """What ``body`` says, once it is verified."""
        read = self._callbacks.read(body)
        verbatim = self._plain(read.verbatim)
        if isinstance(read, Unusable):
            reference = None if read.reference is None else masked(read.reference)
            return Unusable(plain(read.problem), reference, verbatim)
        return WebhookPayload(
            masked(read.reference),
            self._codes.kept(read.gateway_reference),
            read.money,
            _masked_outcome(read.outcome, self._codes),
            verbatim,
        )

    def _plain(self, said: Verbatim) -> Verbatim:
        """Mask the provider's reference with its code, as elsewhere, so that people can compare the two."""
        texts = [None if each is None else plain(each) for each in said]
        if said.gateway_reference is not None and masked(said.gateway_reference) != said.gateway_reference:
            texts[1] = plain(self._codes.kept(said.gateway_reference[:TEXT_MAX]))
        return Verbatim(*texts)


class _Codes:
    """What tells texts apart that are masked alike. ``keys``: what callbacks are signed with, newest first."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        # The oldest live key: while a secret changes, repetitions are told by it as before. It never shows.
        self._keyed = hmac.new(keys[-1] if keys else b"", digestmod="sha256")
        # Under a key that everybody knows, a code would tell the hidden digits to anybody with a million tries.
        self._of_reference = self._code_of_reference if keys else None

    def of(self, text: str) -> bytes:
        """The code of ``text``, from which nobody gets back."""
        code = self._keyed.copy()
        code.update(text.encode())
        return code.digest()

    def kept(self, reference: str) -> str:
        """See ``domain.references.kept``."""
        return kept_reference(reference, self._of_reference)

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
    """A JSON value, or a part of one, in quotes where digits of a number are hidden."""
    return value[0] if value[0].startswith('"') or "*" not in value[0] else f'"{value[0]}"'


def _said(ask: Callable[[], _Said], codes: _Codes) -> _Said:
    try:
        outcome = ask()
    except (NotSentError, OutcomeUnknownError) as error:
        text = str(error)
        shown = masked(text)
        if shown != text:
            raise type(error)(shown) from None
        raise
    return outcome if isinstance(outcome, NotReceived) else _masked_outcome(outcome, codes)


def _masked_outcome(outcome: Outcome, codes: _Codes) -> Outcome:
    match outcome:
        case Approved(reference=reference):
            return replace(outcome, reference=codes.kept(reference))
        case Declined(code=code, message=message, reference=reference):
            known = None if reference is None else codes.kept(reference)
            return replace(outcome, code=masked(code), message=masked(message), reference=known)

"""What every gateway says, without card numbers: the one way by which a provider's words come in, whatever adapter.

Providers know card numbers, and may repeat one in any text. What is told, kept or logged of their words has passed
here; see docs/decisions/0012-card-numbers.md.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

from domain.cards import holds_card, masked, masked_bytes
from domain.outcomes import Approved, Declined, NotReceived, NotSentError, Outcome, OutcomeUnknownError
from domain.references import CODE_BYTES
from domain.references import kept as kept_reference
from domain.said import TEXT_MAX, plain
from gateways.port import Callbacks, Gateway, Notice, Order, Unusable, UnverifiedError, Verbatim

_ESCAPES: Final = re.compile(rb"(?:\\u[0-9a-fA-F]{4})+")
# What JSON must escape, and halves of characters, which have no UTF-8.
_STAY_ESCAPED: Final = re.compile('[\x00-\x1f"\\\\\ud800-\udfff]')

_Said = TypeVar("_Said", Outcome, Outcome | NotReceived)


def kept(body: bytes) -> bytes:
    """The body of a callback as it may be stored: byte for byte, but for the digits of card numbers.

    Digits are found in UTF-8 and UTF-16, and escaped as JSON may have them.
    """
    plain = _ESCAPES.sub(_unescaped, body).replace(b"\0", b"")
    shown = masked_bytes(plain)
    return body if shown == plain else shown


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
        if not holds_card(event_id):
            return event_id
        return f"coded-{self._codes.of(event_id).hex()}"

    def read(self, body: bytes) -> Notice | Unusable:
        """What ``body`` says, once it is verified."""
        read = self._callbacks.read(body)
        verbatim = self._plain(read.verbatim)
        if isinstance(read, Unusable):
            reference = None if read.reference is None else masked(read.reference)
            return Unusable(plain(read.problem), reference, verbatim)
        return Notice(
            masked(read.reference),
            self._codes.kept(read.gateway_reference),
            read.money,
            _masked_outcome(read.outcome, self._codes),
            verbatim,
        )

    def _plain(self, said: Verbatim) -> Verbatim:
        """The provider's own reference goes by its code, as everywhere else: else people could not compare the two."""
        texts = [None if each is None else plain(each) for each in said]
        if said.gateway_reference is not None and holds_card(said.gateway_reference):
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


def _unescaped(escapes: re.Match[bytes]) -> bytes:
    text: str = json.loads(b'"%b"' % escapes[0])
    return escapes[0] if _STAY_ESCAPED.search(text) else text.encode()


def _said(ask: Callable[[], _Said], codes: _Codes) -> _Said:
    try:
        outcome = ask()
    except (NotSentError, OutcomeUnknownError) as error:
        text = str(error)
        if holds_card(text):
            raise type(error)(masked(text)) from None
        raise
    return outcome if isinstance(outcome, NotReceived) else _masked_outcome(outcome, codes)


def _masked_outcome(outcome: Outcome, codes: _Codes) -> Outcome:
    match outcome:
        case Approved(reference=reference):
            return replace(outcome, reference=codes.kept(reference))
        case Declined(code=code, message=message, reference=reference):
            known = None if reference is None else codes.kept(reference)
            return replace(outcome, code=masked(code), message=masked(message), reference=known)

"""What a failure of the transport means: surely not sent, or unknown."""

from __future__ import annotations

from typing import Final

from domain.outcomes import GatewayError, NotSentError, OutcomeUnknownError


class TransportError(Exception):
    """A violation found by the transport itself. The text quotes nothing that was sent or received."""


FOREIGN_ERRORS: Final = (OSError, TransportError, ValueError, RuntimeError)
"""The errors of network, TLS, name resolution (``UnicodeError`` is a ValueError), threads and this transport."""


def translated(name: str, error: Exception, *, sent: bool) -> GatewayError:
    """Translate ``error`` for a call to the gateway ``name``. ``sent``: a byte of the request may have left.

    Errors of the network and of this transport become the cause, and their text is kept. Others may quote what was
    sent or received, such as a card number, so only the name of their class is kept.
    """
    text = type(error).__name__
    quotable = error if isinstance(error, OSError | TransportError) else None
    detail = getattr(quotable, "strerror", None) or str(quotable or "")
    if detail:
        text = f"{text}: {detail}"
    meaning = OutcomeUnknownError(f"{name}: sent, then {text}") if sent else NotSentError(f"{name}: not sent, {text}")
    meaning.__cause__ = quotable
    return meaning

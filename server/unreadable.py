"""What gunicorn finds in what clients send that is no HTTP request: which status that is, and what the client is told.

Its own answers quote the broken line, which may hold a secret.
"""

from __future__ import annotations

from typing import Final

from gunicorn.http import errors

_UNREADABLE: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (errors.LimitRequestLine, 414, "The request line is too long."),
    (errors.LimitRequestHeaders, 431, "The headers are too many or too long."),
    (errors.ExpectationFailed, 417, "No expectation is known but 100-continue."),
    (errors.UnsupportedTransferCoding, 415, "Send the body without a Transfer-Encoding, or chunked."),
    (errors.InvalidHeader, 400, "A header cannot be read."),
    (errors.InvalidHeaderName, 400, "A header cannot be read."),
    (errors.ParseException, 400, "It cannot be read as an HTTP request."),
)
"""The first that fits."""
_NAMED: Final = {"HOST": "Host", "CONTENT-LENGTH": "Content-Length", "TRANSFER-ENCODING": "Transfer-Encoding"}
"""Headers that an error may name. Other text that gunicorn quotes may be a whole line with a secret."""
_OF_ANSWERS: Final = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)  # type: ignore[attr-defined]  # since 27
"""Of the same kinds, but about headers of the application's own."""


def told_of(error: BaseException) -> tuple[int, str] | None:
    """Status and words for a client's fault; None when it is none."""
    if isinstance(error, _OF_ANSWERS):
        return None
    if isinstance(error, errors.InvalidHeader) and error.hdr in _NAMED:
        return 400, f"The header {_NAMED[error.hdr]} cannot be read. It may occur only once."
    return next(((status, detail) for kind, status, detail in _UNREADABLE if isinstance(error, kind)), None)

"""Responses to what gunicorn cannot read as an HTTP request: the status, and the detail for the client.

gunicorn's own responses quote the broken line, which may hold a secret.
"""

from __future__ import annotations

from typing import Final

from gunicorn.http import errors

_UNREADABLE: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (errors.LimitRequestLine, 414, "The request line is too long."),
    (errors.LimitRequestHeaders, 431, "The headers are too many or too long."),
    (errors.ExpectationFailed, 417, "The only supported expectation is 100-continue."),
    (errors.UnsupportedTransferCoding, 415, "Send the body without a Transfer-Encoding, or chunked."),
    (errors.InvalidHeader, 400, "A header cannot be read."),
    (errors.InvalidHeaderName, 400, "A header cannot be read."),
    (errors.ParseException, 400, "It cannot be read as an HTTP request."),
)
"""The first match counts."""
_NAMED: Final = {"HOST": "Host", "CONTENT-LENGTH": "Content-Length", "TRANSFER-ENCODING": "Transfer-Encoding"}
"""Headers that an error may name. Other text that gunicorn quotes may be a whole line with a secret."""
_OF_RESPONSES: Final = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)  # type: ignore[attr-defined]  # since 27
"""Errors of the same kinds about headers of the application's own responses."""


def refusal_of(error: BaseException) -> tuple[int, str] | None:
    """Return status and detail for an error of the client; None for any other error."""
    if isinstance(error, _OF_RESPONSES):
        return None
    if isinstance(error, errors.InvalidHeader) and error.hdr in _NAMED:
        return 400, f"The header {_NAMED[error.hdr]} cannot be read. It may occur only once."
    return next(((status, detail) for kind, status, detail in _UNREADABLE if isinstance(error, kind)), None)

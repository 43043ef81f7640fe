"""Path, method and headers of a request, before its route is looked up.

One quick look searches path, query and headers together for card numbers and secrets. Readers of single headers and of
the query search again only when the quick look was not conclusive (``is_clean``).
"""

from __future__ import annotations

import re
from typing import Any, Final

import falcon
from falcon.constants import COMBINED_METHODS

from api.headers import refuse_repeated
from api.operations import Signed
from api.problems import NOT_FOUND, ProblemError
from api.screening.sensitive_data import found_in, may_hold_any

PATH_LENGTH_MAX: Final = 500
"""The longest path that is searched, in characters: an id has at most 200, and no path more than one id."""

# A method that no route allows.
_ALLOWED_NOWHERE: Final = "TRACE"
_KNOWN: Final = frozenset(COMBINED_METHODS)
_CALLBACK: Final = re.compile("/+v1/+callbacks/+([^/]+)/*")
_CLEAN: Final = "payments.clean"
_SEARCHED: Final = ("QUERY_STRING", "HTTP_X_REQUEST_ID", "HTTP_IDEMPOTENCY_KEY", "HTTP_TRACEPARENT")
"""The keys of the texts in a request's environ that are stored, searched for, or repeated in an answer."""
# Joins texts without joining their digits to a card number.
_BETWEEN: Final = "x"


class Screening:
    """Middleware that refuses malformed addresses, repeated headers, and paths with card numbers or secrets."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Correct and search the envelope. Raises ProblemError (404), which repeats nothing of the path."""
        path = req.path
        callback = _CALLBACK.fullmatch(path)
        if callback is not None:  # providers and proxies add slashes, and a genuine callback must not be lost for that
            req.path = path = f"/v1/callbacks/{callback[1]}"
        if path.startswith("//"):  # the router would remove the slashes, but a proxy's rules may not
            raise ProblemError(NOT_FOUND, "A path does not begin with two slashes.")
        if req.method not in _KNOWN:  # the framework would answer 400; the answer is 405 with the allowed methods
            req.method = _ALLOWED_NOWHERE
        if len(path) > PATH_LENGTH_MAX:
            raise _nothing_here()
        env = req.env
        text = _BETWEEN.join([path, *[env[name] for name in _SEARCHED if name in env]])
        # An escape in the query may hide digits and letters.
        if text.isascii() and "%" not in text and not may_hold_any(text.encode("ascii")):
            env[_CLEAN] = True
        elif found_in(path):
            raise _nothing_here()

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        """Refuse repeated headers, except where the signature decides. Raises ProblemError that names them."""
        if not isinstance(resource, Signed):
            refuse_repeated(req.env)


def is_clean(env: dict[str, Any]) -> bool:
    """Whether path, query and headers certainly hold no card number and no secret; False when that is not known."""
    return _CLEAN in env


def found_in_header(env: dict[str, Any], value: str) -> list[str]:
    """``found_in`` for the value of a header that ``Screening`` has searched."""
    return [] if _CLEAN in env else found_in(value)


def _nothing_here() -> ProblemError:
    return ProblemError(NOT_FOUND, "There is no resource at this path.")

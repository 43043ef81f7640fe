"""Methods and addresses that the framework takes for others than they are: set right before it looks for a route."""

from __future__ import annotations

from typing import Final

import falcon
from falcon.constants import COMBINED_METHODS

from api.problems import NOT_FOUND, ProblemError

_ALLOWED_NOWHERE: Final = "TRACE"
_KNOWN: Final = frozenset(COMBINED_METHODS)


class Addresses:
    """Middleware: only the very address of a route leads there, and no method is too strange to be told the right."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Raises ProblemError for an address with slashes too many."""
        if req.path.startswith("//"):  # the router would drop them, where a proxy's rules may not
            raise ProblemError(NOT_FOUND, "No address begins with two slashes.")
        if req.method not in _KNOWN:  # a bad request to the framework; so it is a 405, with what is allowed
            req.method = _ALLOWED_NOWHERE

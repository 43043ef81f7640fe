"""Methods and addresses that the framework takes for others than they are: set right before it looks for a route."""

from __future__ import annotations

import re
from typing import Final

import falcon
from falcon.constants import COMBINED_METHODS

from api.problems import NOT_FOUND, ProblemError

_ALLOWED_NOWHERE: Final = "TRACE"
_KNOWN: Final = frozenset(COMBINED_METHODS)
_CALLBACK: Final = re.compile("/+v1/+callbacks/+([^/]+)/*")


class Addresses:
    """Middleware: only the very address of a route leads there, and no method is too strange to be told the right."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Raises ProblemError for an address with slashes too many."""
        callback = _CALLBACK.fullmatch(req.path)
        if callback is not None:  # providers and proxies add slashes, and a genuine callback must not be lost for that
            req.path = f"/v1/callbacks/{callback[1]}"
        if req.path.startswith("//"):  # the router would drop them, where a proxy's rules may not
            raise ProblemError(NOT_FOUND, "No address begins with two slashes.")
        if req.method not in _KNOWN:  # a bad request to the framework; so it is a 405, with what is allowed
            req.method = _ALLOWED_NOWHERE

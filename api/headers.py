"""Headers that may come once only. WSGI joins repeated ones with commas, so the server tells of them beside it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import falcon

from api.operations import Signed
from api.problems import invalid

REPEATED: Final = "payments.repeated_headers"
"""Where in a request's environ the names, in lower case, of headers stand that came more than once."""
UNDERSCORED: Final = "payments.underscored_headers"
"""The same, with hyphens, of headers that were spelled with underscores and dropped for that."""

READ: Final = ("Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "traceparent", "X-Request-ID")
"""All headers that some operation reads; those that frame a request are the server's."""
_MUST_ARRIVE: Final = "Idempotency-Key"
"""Without it a command is another one: it is not dropped in silence."""


def is_repeated(env: dict[str, Any], name: str) -> bool:
    """Whether the header ``name``, in lower case, came more than once, so that its value is of no use."""
    repeated: Collection[str] = env.get(REPEATED, ())
    return name in repeated


class OnceOnly:
    """Middleware: of two values of a header that is read neither is taken, except where a signature decides."""

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        """Raises ProblemError that names the headers."""
        env = req.env
        if not (env.get(REPEATED) or env.get(UNDERSCORED)) or isinstance(resource, Signed):
            return
        wrong = {name: ["Given more than once."] for name in READ if is_repeated(env, name.lower())}
        if _MUST_ARRIVE.lower() in env.get(UNDERSCORED, ()):
            wrong.setdefault(_MUST_ARRIVE, []).append("Spelled with an underscore. Send it with a hyphen.")
        if wrong:
            raise invalid(wrong)

"""Idempotency keys, until they are built: refused, so that nobody repeats a deposit trusting in one."""

from __future__ import annotations

from typing import Final

import falcon

from api.problems import IDEMPOTENCY_KEY_UNSUPPORTED, ProblemError

HEADER: Final = "Idempotency-Key"


def refuse_key(req: falcon.Request) -> None:
    """Raises ProblemError when the request carries an Idempotency-Key, empty ones included."""
    if "HTTP_IDEMPOTENCY_KEY" in req.env:
        raise ProblemError(
            IDEMPOTENCY_KEY_UNSUPPORTED,
            f"Nothing was stored. Send the request without {HEADER}, once.",
            errors={HEADER: ["Not supported yet."]},
        )

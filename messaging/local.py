"""The in-process queue: a hint goes directly to the handler in the announcer's thread. Other processes poll."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from messaging.port import HintHandler, WorkHint

logger: Final = logging.getLogger(__name__)


class LocalQueue:
    """Delivers to this process only. Its handlers must be as quick as sending a message to an actor."""

    def __init__(self) -> None:
        self._handlers: dict[str, HintHandler] = {}

    def announce(self, hint: WorkHint, /) -> None:
        """See WorkQueue."""
        handler = self._handlers.get(hint.gateway)
        if handler is None:
            return
        try:
            handler(hint)
        except Exception:  # the announcer has committed: it must not fail for a hint that polling makes up for
            logger.exception("a work hint was not handled", extra={"fields": {"work_id": hint.work_id}})

    def subscribe(self, gateways: Collection[str], handler: HintHandler, /) -> None:
        """See WorkQueue."""
        self._handlers = {**self._handlers, **dict.fromkeys(gateways, handler)}

    def close(self) -> None:
        """See WorkQueue."""
        self._handlers = {}

"""The table of brokers by the scheme of their URLs. The only file that names every adapter of the publisher port."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Final, cast

from messaging.port import Publisher

BROKERS: Final[dict[str, str]] = {
    "amqp": "messaging.rabbitmq:RabbitmqPublisher",
    "amqps": "messaging.rabbitmq:RabbitmqPublisher",
}
"""Module and class of each publisher. The module is imported when a URL has its scheme, and its client only then."""


def publisher_of(url: str) -> Publisher:
    """Return the publisher for the broker at ``url``, which connects when it is first used.

    Raises ValueError for a URL of no broker.
    """
    scheme = url.partition("://")[0]
    if scheme not in BROKERS:
        raise ValueError(f"the broker URL must begin with one of {', '.join(f'{known}://' for known in BROKERS)}")
    return cast("Callable[[str], Publisher]", resolve_name(BROKERS[scheme]))(url)

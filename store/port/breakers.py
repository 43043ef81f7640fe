"""Circuit breakers of the gateways, as records that all processes share."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol


class GatewayMode(NamedTuple):
    """The mode that an operator set for the breaker of a gateway: ``open``, ``closed`` or ``auto``."""

    gateway: str
    mode: str
    reason: str


BREAKER_REST_SLACK_S: Final = 0.001
"""A breaker may be probed this much before the end of its sleep, because clocks are read and rounded repeatedly."""


class BreakerRecord(NamedTuple):
    """The circuit breaker of a gateway; times are relative to the store's clock at the answer.

    ``epoch`` goes up by one with each change; 0: it has never changed.
    """

    gateway: str
    epoch: int = 0
    state: str = "closed"
    """``closed``, ``open``, or ``half_open``: ``prober`` may make one call."""
    age_s: float = 0.0
    """Seconds since the change, never below zero."""
    prober: str | None = None
    """The owner that has the probe."""
    probe_left_s: float = 0.0
    """Seconds until the permit of the probe expires, never below zero."""


class BreakerStore(Protocol):
    """The shared breakers, and the modes that operators set. Every method raises StoreUnavailableError."""

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """Return the present modes by gateway, without gateways that never had one."""

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """Replace the mode of the gateway."""

    def breakers(self) -> dict[str, BreakerRecord]:
        """Return the breakers that have ever changed, by gateway."""

    def turn_breaker(self, gateway: str, epoch: int, state: str) -> BreakerRecord:
        """Make the breaker ``closed`` or ``open`` if it is at ``epoch``; returns the record afterwards.

        The first caller that names an epoch changes it. Repeating the call changes nothing more. Raises
        UnstorableError for another state, and CommitUncertainError.
        """

    def take_probe(self, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float) -> BreakerRecord:
        """Permit ``owner`` to probe for ``permit_s`` if the breaker is at ``epoch`` and its sleep is over.

        The sleep is over when the breaker has been open for ``sleep_s``, or half-open for that long after the permit of
        the probe expired: a probe without a result has failed. A clock that was set back extends the sleep by at most
        ``sleep_s``. Returns the record afterwards. Repeating the call changes nothing more. Raises
        CommitUncertainError.
        """

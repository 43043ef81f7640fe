"""The secret that service and simulator share when none is configured: for development on loopback only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CALLBACK_SECRET: Final = "whsec_Zm9yIGRldmVsb3BtZW50IG9ubHksIG5ldmVyIGluIHByb2R1Y3Rpb24="  # noqa: S105 (no secret)
"""Every gateway's callback secret in development, in the form of the Standard Webhooks specification.

Gateways with plain text secrets use the UTF-8 bytes of this text.
"""

SIMULATOR_SECRETS: Final[Mapping[str, str]] = MappingProxyType(
    {"gatewayA": "SIMULATOR_GATEWAY_A_SECRET", "gatewayB": "SIMULATOR_GATEWAY_B_SECRET"}
)
"""The simulator's gateways (the last part of their callback paths) and the variables of their secrets."""

"""Guarantees of gateways in tests: the same for all kinds of operations."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from domain.events import Kind
from gateways.port import LookupMeans, OperationFacts

WINDOW_S = 86_400.0


def operations_with(*, keys: bool, looks_up: bool = True) -> Mapping[Kind, OperationFacts]:
    """All operations, with or without idempotency keys and lookups by reference."""
    lookup = LookupMeans.QUERY if looks_up else LookupMeans.NONE
    return dict.fromkeys(Kind, OperationFacts(WINDOW_S if keys else 0.0, lookup))


class SameForAll:
    """The part of gateways.port.Gateway that declares operations; a test may change the guarantees at any time."""

    honours_keys: bool = True
    looks_up: bool = True
    lookup_means: LookupMeans = LookupMeans.QUERY
    supported: Collection[Kind] = tuple(Kind)
    key_window_s: float = WINDOW_S
    holds: bool = True
    reference_form: re.Pattern[str] | None = None

    @property
    def operations(self) -> Mapping[Kind, OperationFacts]:
        """See Gateway."""
        lookup = self.lookup_means if self.looks_up else LookupMeans.NONE
        facts = OperationFacts(self.key_window_s if self.honours_keys else 0.0, lookup)
        return dict.fromkeys(self.supported, facts)

"""Reads metrics in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""


def read(text: str) -> Samples:
    """The samples of a scrape."""
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def of(samples: Samples, name: str, **labels: str) -> float | None:
    """The value of one series, or None without such a series."""
    return samples.get((name, frozenset(labels.items())))

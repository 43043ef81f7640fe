"""Garbage collection of a worker that keeps many objects for a long time."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 50)
"""New objects before a collection, and the number of these before a wider and a full one."""


def freeze() -> None:
    """Exclude all present objects from collections, and collect more rarely: 100,000 customers' actors live long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

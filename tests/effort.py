"""The amount of random testing in a test run.

The environment variable ``TESTS_EFFORT``, which ``make test EFFORT=4`` sets, multiplies the number of examples.
"""

from __future__ import annotations

import os
from typing import Final

import hypothesis

EFFORT: Final = max(1, int(os.environ.get("TESTS_EFFORT") or 1))


def examples(count: int) -> hypothesis.settings:
    """Settings of Hypothesis for ``count`` examples at an effort of 1; examples have no deadline."""
    return hypothesis.settings(max_examples=count * EFFORT, deadline=None)

"""``value``: the decorator of immutable value classes whose instances are cheap to create.

To a type checker it is ``dataclasses.dataclass``, and the classes are declared frozen: ``make check`` reports an
assignment to a field. At run time nothing prevents it, because a frozen dataclass sets every field through
``object.__setattr__``, which takes three to ten times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    import dataclasses
    from collections.abc import Callable

    def value(*, frozen: bool, **options: bool) -> Callable[[type], type]:
        """As ``dataclasses.dataclass``: equal instances have equal hashes, and ``frozen`` is not enforced."""
        return dataclasses.dataclass(unsafe_hash=frozen, **options)


__all__ = ["value"]

"""The roles of the processes of a world, and which processes a world has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a process does; see docs/scaling.md."""

    ALL = "all"
    API = "api"
    PROCESSOR = "processor"
    RELAY = "relay"

    @property
    def accepts(self) -> bool:
        """Whether it answers clients, callbacks and operators."""
        return self in {Role.ALL, Role.API}

    @property
    def processes(self) -> bool:
        """Whether it sends work to providers."""
        return self in {Role.ALL, Role.PROCESSOR}

    @property
    def publishes(self) -> bool:
        """Whether it publishes events and announces work where there is a broker."""
        return self in {Role.ALL, Role.RELAY}


Shape = tuple[Role, ...]
"""The roles of a world's processes, by their numbers."""

SHAPES: Final[Sequence[Shape]] = (
    (Role.ALL,),
    (Role.ALL,),
    (Role.ALL, Role.ALL),
    (Role.ALL, Role.ALL, Role.ALL),
    (Role.API, Role.PROCESSOR),
    (Role.API, Role.PROCESSOR, Role.RELAY),
    (Role.API, Role.API, Role.PROCESSOR, Role.RELAY, Role.RELAY),
    (Role.API, Role.PROCESSOR, Role.PROCESSOR, Role.RELAY, Role.RELAY),
)
"""A seed chooses one of them."""


def shape_of(text: str) -> Shape:
    """Read roles that commas separate. Raises ValueError."""
    return tuple(Role(name) for name in text.split(","))


def is_whole(roles: Collection[Role], *, brokered: bool) -> bool:
    """Whether processes with these roles do all the work of a service between them."""
    return (
        any(role.accepts for role in roles)
        and any(role.processes for role in roles)
        and (not brokered or any(role.publishes for role in roles))
    )

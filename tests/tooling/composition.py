"""docker-compose.yml as data: its services, the order in which they start, and their form on this machine.

It implements compose's treatment of the file (order, environments, volumes, names). It starts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

import yaml

from tests.processes.process import free_port
from tests.tooling.checkout import CHECKOUT

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
HOST: Final = "127.0.0.1"
WORKDIR: Final = "/app"
"""The folder in which the image's commands run (Dockerfile)."""

_EVERY_INTERFACE: Final = ("0.0.0.0", HOST)  # noqa: S104 - searched for in the file, never bound


def environment(name: str) -> dict[str, str]:
    """The variables of a service. All must be strings: YAML reads off, 1 and yes as other types."""
    variables: dict[str, Any] = SERVICES[name].get("environment", {})
    assert all(isinstance(value, str) for value in variables.values()), name
    return dict(variables)


def order() -> list[str]:
    """The services, each after those that it depends on."""
    return list(
        TopologicalSorter({name: set(each.get("depends_on", {})) for name, each in SERVICES.items()}).static_order()
    )


@dataclass(frozen=True)
class Mount:
    """A line of ``volumes``: a named volume, or a file of the checkout."""

    source: str
    target: str
    read_only: bool

    @property
    def named(self) -> bool:
        """Whether it is a volume that outlives its containers."""
        return not self.source.startswith(".")


def mounts(name: str) -> Iterator[Mount]:
    """The mounts of a service's container."""
    for line in SERVICES[name].get("volumes", []):
        source, target, *mode = line.split(":")
        yield Mount(source, target, read_only=mode == ["ro"])


class OnThisMachine:
    """The services with ports of their own on loopback, and folders below ``folder`` for the volumes.

    Nothing else of the file is changed: a process here gets the same settings as the container.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports: dict[tuple[str, str], int] = {}
        for mount in (mount for name in SERVICES for mount in mounts(name) if mount.named):
            self.volume(mount).mkdir(exist_ok=True)

    def volume(self, mount: Mount) -> Path:
        """The folder that replaces a named volume."""
        return self.folder / mount.source

    def place(self, name: str, container_port: str, port: int) -> None:
        """Set the address of a service that was started by other means."""
        self._ports[name, container_port] = port

    def port(self, name: str, container_port: str) -> int:
        """The port on this machine for a port of a service's container."""
        return self._ports.setdefault((name, container_port), free_port())

    def text(self, name: str, text: str) -> str:
        """``text``, a setting of service ``name``, with addresses on this machine instead of those of containers."""

        def here(found: re.Match[str]) -> str:
            service = name if found["host"] in _EVERY_INTERFACE else found["host"]
            return f"{HOST}:{self.port(service, found['port'])}"

        hosts = "|".join(map(re.escape, (*_EVERY_INTERFACE, *SERVICES)))
        return re.sub(rf"(?<![\w.-])(?P<host>{hosts}):(?P<port>\d+)(?!\d)", here, text)

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service, with ports and other services as they are on this machine."""
        return {variable: self.text(name, value) for variable, value in environment(name).items()}

    def file(self, name: str, path: str) -> Path:
        """A copy of a file of the checkout for service ``name``, with the addresses of this machine."""
        copy = self.folder / f"{name}-{Path(path).name}"
        copy.write_text(self.text(name, (CHECKOUT / path).read_text()))
        return copy

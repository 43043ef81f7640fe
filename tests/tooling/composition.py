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
ALL_ROLES: Final = "service"
"""The service that has all roles. It is left out where a profile starts a service for each."""
BROKERS: Final = ("rabbitmq", "kafka")
"""The brokers, each with a profile of its name."""
HOST: Final = "127.0.0.1"
WORKDIR: Final = "/app"
"""The folder in which the image's commands run (Dockerfile)."""

_EVERY_INTERFACE: Final = ("0.0.0.0", HOST)  # noqa: S104 - searched for in the file, never bound


def environment(name: str) -> dict[str, str]:
    """The variables of a service. All must be strings: YAML reads off, 1 and yes as other types."""
    variables: dict[str, Any] = SERVICES[name].get("environment", {})
    assert all(isinstance(value, str) for value in variables.values()), name
    return dict(variables)


def started(profile: str | None = None) -> list[str]:
    """The services that compose starts, each after those that it depends on.

    With a profile they are those of the command at the beginning of the file, which leaves out ``service``.
    """
    names = [name for name in SERVICES if profiles(name) == [] and (profile is None or name != ALL_ROLES)]
    names += [name for name in SERVICES if profile in profiles(name)]
    dependencies = {name: set(SERVICES[name].get("depends_on", {})) for name in names}
    assert all(others <= dependencies.keys() for others in dependencies.values()), "a dependency is not started"
    return list(TopologicalSorter(dependencies).static_order())


def profiles(name: str) -> list[str]:
    """The profiles that start a service; empty: it is started in any case."""
    return list(SERVICES[name].get("profiles", []))


def networks(name: str) -> dict[str, dict[str, Any]]:
    """The networks of a service, each with its options."""
    given = SERVICES[name].get("networks", ["default"])
    return given if isinstance(given, dict) else {network: {} for network in given}


def host_names(names: list[str]) -> dict[str, str]:
    """The service that answers to each host name, when those of ``names`` run."""
    found = {name: name for name in names}
    for name in names:
        for options in networks(name).values():
            found.update(dict.fromkeys(options.get("aliases", []), name))
    return found


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

    def __init__(self, folder: Path, profile: str | None = None) -> None:
        self.folder = folder
        self.services: Final = started(profile)
        self._host_names = host_names(self.services)
        self._ports: dict[tuple[str, str], int] = {}
        for mount in (mount for name in self.services for mount in mounts(name) if mount.named):
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
            service = name if found["host"] in _EVERY_INTERFACE else self._host_names[found["host"]]
            return f"{HOST}:{self.port(service, found['port'])}"

        hosts = "|".join(map(re.escape, (*_EVERY_INTERFACE, *self._host_names)))
        return re.sub(rf"(?<![\w.-])(?P<host>{hosts}):(?P<port>\d+)(?!\d)", here, text)

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service, with ports and other services as they are on this machine."""
        return {variable: self.text(name, value) for variable, value in environment(name).items()}

    def file(self, name: str, path: str) -> Path:
        """A copy of a file of the checkout for service ``name``, with the addresses of this machine."""
        copy = self.folder / f"{name}-{Path(path).name}"
        copy.write_text(self.text(name, (CHECKOUT / path).read_text()))
        return copy

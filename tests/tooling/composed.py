"""Runs the services of docker-compose.yml in the order of ``depends_on``, with a PostgreSQL set up like its image.

Commands of services run as processes of this machine (here) or from the image (``tests.tooling.image``).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.postgresql.embedded import EmbeddedServer, embedded_server
from tests.postgresql.programs import server_programs
from tests.processes.process import Process, wait_until
from tests.tooling.checkout import CHECKOUT
from tests.tooling.composition import BROKERS, SERVICES, WORKDIR, OnThisMachine, environment, mounts

DATABASE: Final = "database"
IMAGE_COMMAND: Final = ("gunicorn", "wsgi:app")
"""The command of the image when compose names none; a test compares it with the Dockerfile."""

_INIT: Final = "/docker-entrypoint-initdb.d/"
_FOREIGN: Final = ("PAYMENTS_", "SIMULATOR_", "GUNICORN_", "PG")

Start = Callable[[OnThisMachine, str], Process]
"""Starts the command of a service of that name."""


def as_process(here: OnThisMachine, name: str) -> Process:
    """Start a service with its exact command and environment as a process of the checkout."""
    folders = {mount.target: str(here.volume(mount)) for mount in mounts(name) if mount.named}
    variables = here.environment(name)
    for variable in variables:
        for target, folder in folders.items():
            variables[variable] = variables[variable].replace(f"{target}/", f"{folder}/")
        assert WORKDIR not in variables[variable], f"{variable} of {name} names a path outside the volumes"
    for variable, path in gateways_file(name).items():
        variables[variable] = str(here.file(name, path))
    return Process(
        name,
        local(SERVICES[name].get("command", IMAGE_COMMAND)),
        cwd=CHECKOUT,
        environ=alone(variables),
        folder=here.folder,
    )


def gateways_file(name: str) -> dict[str, str]:
    """The variable of a service that names a file of the checkout with addresses of other services."""
    return {variable: value for variable, value in environment(name).items() if variable == "PAYMENTS_GATEWAYS_FILE"}


def alone(variables: dict[str, str]) -> dict[str, str]:
    """The environment of this process with these settings instead of its own."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)} | variables


def local(command: list[str] | tuple[str, ...]) -> list[str]:
    """A container's command with the programs of this machine."""
    program, *arguments = command
    programs = {
        "python": [sys.executable],
        "gunicorn": [sys.executable, "-m", "gunicorn"],
        "pg_isready": [str(server_programs() / "pg_isready")],
    }
    return [*programs[program], *arguments]


class Broker(NamedTuple):
    """A running broker in place of the service of this name, on ``port`` of this machine."""

    name: str
    container_port: str
    port: int


class Composed(NamedTuple):
    """All services, running."""

    here: OnThisMachine
    processes: dict[str, Process]

    def url(self, name: str, container_port: int) -> str:
        """The URL of a service's published port."""
        return f"http://localhost:{self.here.port(name, str(container_port))}"

    def curl(self, line: str) -> Any:
        """The JSON answer to a command line of the README."""
        return json.loads(self.fetch(line))

    def fetch(self, line: str) -> str:
        """The answer to a command line of the README; an HTTP error is a failure."""
        for name in self.here.services:
            for published in SERVICES[name].get("ports", []):
                _, outside, inside = published.split(":")
                line = line.replace(f"http://localhost:{outside}", self.url(name, int(inside)))
        program, *arguments = shlex.split(line)
        assert program == "curl"
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def deposit(self, line: str) -> dict[str, Any]:
        """Post a deposit with a line of the README, and return the transaction when it is completed."""
        accepted, (api,) = self.curl(line), re.findall(r"http://localhost:\d+", line)
        transaction: dict[str, Any] = {}

        def completed() -> bool:
            transaction.update(self.curl(f"curl {api}/v1/transactions/{accepted['transaction_id']}"))
            return bool(transaction["status"] == "completed")

        wait_until(completed, "the deposit is completed")
        return transaction


def is_healthy(here: OnThisMachine, name: str) -> bool:
    """Whether the health check of a service passes on this machine."""
    kind, *command = SERVICES[name]["healthcheck"]["test"]
    assert kind == "CMD"
    check = local([here.text(name, word) for word in command])
    return subprocess.run(check, env=alone({}), capture_output=True, timeout=30, check=False).returncode == 0


def fulfil(here: OnThisMachine, processes: dict[str, Process], name: str) -> None:
    """Wait for the dependencies of a service, by ``depends_on``."""
    for other, how in SERVICES[name].get("depends_on", {}).items():
        process = processes.get(other)
        if how == {"condition": "service_completed_successfully"}:
            assert process is not None
            assert process.wait() == 0, process.logs
            continue
        if how == {"condition": "service_started"}:
            assert process is not None or other in BROKERS
            continue
        assert how == {"condition": "service_healthy"}

        def healthy(other: str = other, process: Process | None = process) -> bool:
            assert process is None or not process.ended, process.logs
            return is_healthy(here, other)

        wait_until(healthy, f"{other} is healthy")


@contextmanager
def composed(folder: Path, start: Start, broker: Broker | None = None) -> Iterator[Composed]:
    """All services, running within the block; afterwards they stop in order and within the time that compose allows.

    With a broker they are those of its profile.
    """
    here = OnThisMachine(folder, broker and broker.name)
    if broker is not None:
        here.place(*broker)
    processes: dict[str, Process] = {}
    with embedded_server(durable=False) as server:
        make_database(server)
        here.place(DATABASE, "5432", server.port)
        try:
            for name in here.services:
                fulfil(here, processes, name)
                if name not in {DATABASE, *BROKERS}:
                    processes[name] = start(here, name)
            for name, process in processes.items():
                if "test" in SERVICES[name]["healthcheck"]:
                    await_health(here, name, process)
            yield Composed(here, processes)
            for process in reversed(processes.values()):
                if not process.ended:
                    process.send(signal.SIGTERM)
                assert process.wait() == 0, process.logs
        except AssertionError:
            sys.stderr.write("\n".join(process.logs for process in processes.values()))
            raise
        finally:
            end(processes.values())


def await_health(here: OnThisMachine, name: str, process: Process) -> None:
    """Wait until a started service is healthy."""
    wait_until(lambda: process.ended or is_healthy(here, name), f"{name} is healthy")
    assert not process.ended, process.logs


def end(processes: Iterable[Process]) -> None:
    """End the processes that a failed test has left: each gets SIGTERM, and is killed if it does not end."""
    for process in processes:
        if not process.ended:
            process.send(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait()
        process.end()


def make_database(server: EmbeddedServer) -> None:
    """Prepare a new server as the image of PostgreSQL does on an empty volume; every connection needs a password."""
    variables = environment(DATABASE)
    database = variables["POSTGRES_DB"]
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        password = sql.Literal(variables["POSTGRES_PASSWORD"])
        admin.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(password))
        for script in sorted(mount.source for mount in mounts(DATABASE) if mount.target.startswith(_INIT)):
            settings = ["-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc"]
            psql = [str(server_programs() / "psql"), *settings, "--dbname", server.url(database), "--file", script]
            done = subprocess.run(psql, cwd=CHECKOUT, env=alone(variables), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        found = admin.execute("SHOW hba_file").fetchone()
        assert found is not None
        Path(found[0]).write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        admin.execute("SELECT pg_reload_conf()")


def login(here: OnThisMachine, user: str, password: str) -> str:
    """The URL for a connection to the database as ``user``."""
    url = here.text(DATABASE, f"postgresql://{user}@database:5432/{environment(DATABASE)['POSTGRES_DB']}")
    return make_conninfo(url, password=password)

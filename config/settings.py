"""The settings of the service: one frozen value, read once from the environment when a process starts.

It owns every variable of the service with its default and bounds: a new setting is one field of ``Settings``. It opens
no file. ``config.gateways_file`` reads the gateways file, ``gateways`` checks its content.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from config import values
from config.urls import broker_url, database_url, public_url, sqlite_path
from config.values import BindAddress, SettingsError

__all__ = [
    "CHECKOUT",
    "Auth",
    "BindAddress",
    "EventsMode",
    "LogFormat",
    "LogLevel",
    "Role",
    "Settings",
    "SettingsError",
    "Withdrawals",
]

CHECKOUT: Final = Path(__file__).resolve().parent.parent
"""The folder of the service. Relative paths in settings begin here, whatever the working directory is."""

CLIENTS_VARIABLES: Final = frozenset({"PAYMENTS_URL", "PAYMENTS_API_KEY"})
"""The variables of ``config.client``. They are accepted here, so that service and client can share an environment."""

PREFIX: Final = "PAYMENTS_"
DEFAULT_BIND: Final = BindAddress("127.0.0.1", 8080)
_DEFAULT_DATABASE: Final = "sqlite:///var/payments.db"
_TESTS_PREFIX: Final = "PAYMENTS_TEST_"
_SECRETS_SUFFIX: Final = "_SECRETS"
_DAY_S: Final = 86_400


class Role(StrEnum):
    """What a process does: accept commands (``api``), call gateways (``processor``), publish (``relay``), or all."""

    ALL = "all"
    API = "api"
    PROCESSOR = "processor"
    RELAY = "relay"


class EventsMode(StrEnum):
    """How CloudEvents are put on the broker: attributes as headers, or all of the event in the body."""

    BINARY = "binary"
    STRUCTURED = "structured"


class Withdrawals(StrEnum):
    """Whether a withdrawal needs a balance in this service, or balances are kept elsewhere."""

    CHECKED = "checked"
    UNCHECKED = "unchecked"


class Auth(StrEnum):
    """Whether clients need API keys. ``auto``: unless the service is bound to loopback."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


class LogLevel(StrEnum):
    """The lowest level of the lines that are written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class LogFormat(StrEnum):
    """``json``: one object per line for machines. ``console``: for people."""

    JSON = "json"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the service. URLs are left out of its ``repr``, because they may contain passwords.

    **Authentication.** ``PAYMENTS_AUTH=auto`` (the default) needs no keys while the service is bound to loopback, and
    needs them bound elsewhere. ``off`` serves without keys wherever it is bound. It is for private networks: every
    client that can reach the port may move money.
    """

    bind: BindAddress = DEFAULT_BIND
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes that serve HTTP: always 1 with SQLite, which one process owns; with PostgreSQL one per core."""
    database_url: str = field(default=_DEFAULT_DATABASE, repr=False)
    """PostgreSQL as given; SQLite as ``sqlite:///`` and the absolute path, so that it means the same everywhere."""
    migration_database_url: str = field(default=_DEFAULT_DATABASE, repr=False)
    """The same database under the role that owns its tables."""
    broker_url: str | None = field(default=None, repr=False)
    """The broker to which events are published; None: no broker. Its adapter checks the scheme."""
    events_mode: EventsMode = EventsMode.BINARY
    public_url: str = f"http://{DEFAULT_BIND}"
    """The address under which clients reach the API, without a slash at its end: the schemas' ids begin with it."""
    role: Role = Role.ALL
    gateways_file: Path = Path("config/gateways.toml")
    default_currency: Annotated[
        str, Meta(pattern=r"^[A-Z]{3}\Z", description="an ISO 4217 code in capital letters, such as USD")
    ] = "USD"
    """Three capital letters. ``domain.money`` checks that the currency exists."""
    withdrawals: Withdrawals = Withdrawals.CHECKED
    auth: Auth = Auth.AUTO
    request_deadline_s: Annotated[float, Meta(ge=0.1, le=120)] = 10.0
    # The maximum is below the connections of a worker, so that callbacks and reads are served as well.
    commands_max: Annotated[int, Meta(ge=1, le=700)] = 128
    """Deposits and withdrawals of a process that may wait for their answer at a time."""
    passivate_after_s: Annotated[float, Meta(ge=0.1, le=_DAY_S)] = 120.0
    lease_s: Annotated[float, Meta(ge=1, le=3600)] = 15.0
    dead_letter_first_s: Annotated[float, Meta(ge=0.01, le=_DAY_S)] = 10.0
    dead_letter_max_s: Annotated[float, Meta(ge=0.01, le=30 * _DAY_S)] = 3600.0
    dead_letter_attempts: Annotated[int, Meta(ge=1, le=1000)] = 12
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.JSON

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, absolute; None with PostgreSQL."""
        return sqlite_path(self.database_url)

    @property
    def has_own_address(self) -> bool:
        """Whether the public address is that of this process, as without PAYMENTS_PUBLIC_URL."""
        return self.public_url == f"http://{self.bind}"

    @property
    def serves_clients(self) -> bool:
        """Whether the process has more routes than /healthz, /readyz and /metrics."""
        return self.role in {Role.ALL, Role.API}

    @property
    def processes(self) -> bool:
        """Whether the process calls gateways."""
        return self.role in {Role.ALL, Role.PROCESSOR}

    @property
    def relays(self) -> bool:
        """Whether the process publishes events and announces work, where there is a broker."""
        return self.role in {Role.ALL, Role.RELAY}

    @property
    def secret_urls(self) -> tuple[str, ...]:
        """All values that may contain a password."""
        return (self.database_url, self.migration_database_url, self.broker_url or "")

    @property
    def auth_required(self) -> bool:
        """Whether clients need API keys."""
        return self.auth is Auth.REQUIRED or (self.auth is Auth.AUTO and not self.bind.is_loopback)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, checkout: Path = CHECKOUT, cores: int = 0) -> Settings:
        """Read all settings; ``cores`` (0: those of this machine) is the default number of workers with PostgreSQL.

        Raises SettingsError with one line that names the first wrong variable.
        """
        refuse_bytes(environ)
        given = values.read(cls, environ, PREFIX)
        refuse_unknown(environ)
        url = database_url("PAYMENTS_DATABASE_URL", given.get("database_url", _DEFAULT_DATABASE), checkout)
        given["database_url"] = url
        owners_url = given.get("migration_database_url", url)
        given["migration_database_url"] = database_url("PAYMENTS_MIGRATION_DATABASE_URL", owners_url, checkout)
        given["broker_url"] = broker_url("PAYMENTS_BROKER_URL", given.get("broker_url", ""))
        address = f"http://{given.get('bind', DEFAULT_BIND)}"
        given["public_url"] = public_url("PAYMENTS_PUBLIC_URL", given.get("public_url", address))
        given["gateways_file"] = checkout / given.get("gateways_file", "config/gateways.toml")
        given.setdefault("workers", 1 if sqlite_path(url) else cores or _cores())
        settings = cls(**given)
        _refuse_contradictions(settings)
        return settings


def _cores() -> int:
    # The cores that this process may use, which a container limits. Not every system reports them.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def variable_names() -> frozenset[str]:
    """The names of all variables that ``Settings`` reads."""
    return frozenset(values.variables_of(Settings, PREFIX))


def refuse_bytes(environ: Mapping[str, str]) -> None:
    """Refuse variables of the service and its simulator that are not UTF-8. Raises SettingsError."""
    values.refuse_bytes(environ, PREFIX, "SIMULATOR_")


def refuse_unknown(environ: Mapping[str, str]) -> None:
    """Refuse unknown variables with the service's prefix. Raises SettingsError."""
    values.refuse_unknown(environ, variable_names() | CLIENTS_VARIABLES, PREFIX, _TESTS_PREFIX, _SECRETS_SUFFIX)


def _refuse_contradictions(settings: Settings) -> None:
    if settings.sqlite_path and settings.workers > 1:
        message = (
            f"PAYMENTS_WORKERS must be 1 with a SQLite database, which a single process owns, not {settings.workers}"
        )
        raise SettingsError(message)
    if settings.sqlite_path and settings.role not in {Role.ALL, Role.API}:
        message = (
            f"PAYMENTS_ROLE={settings.role} needs PostgreSQL: a single process owns a SQLite database, as all or api"
        )
        raise SettingsError(message)
    same_kind = settings.migration_database_url.startswith("sqlite:") == bool(settings.sqlite_path)
    if not same_kind or (settings.sqlite_path and settings.migration_database_url != settings.database_url):
        message = "PAYMENTS_MIGRATION_DATABASE_URL must name the same database as PAYMENTS_DATABASE_URL"
        raise SettingsError(message)
    if settings.dead_letter_max_s < settings.dead_letter_first_s:
        message = (
            f"PAYMENTS_DEAD_LETTER_MAX_S must not be below PAYMENTS_DEAD_LETTER_FIRST_S"
            f" ({settings.dead_letter_first_s:g}), not {settings.dead_letter_max_s:g}"
        )
        raise SettingsError(message)

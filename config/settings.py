"""The settings: one frozen value, read once from the environment by whoever starts a process.

It owns every variable of the service, its default and its bounds. It opens no file and knows no other room; what
the gateways file says is read by ``config.gateways_file`` and judged by ``gateways``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from config.urls import broker_url, sqlite_path, sqlite_url
from config.values import Address, Reader, SettingsError

__all__ = ["CHECKOUT", "Address", "Auth", "LogFormat", "LogLevel", "Role", "Settings", "SettingsError", "Withdrawals"]

CHECKOUT: Final = Path(__file__).resolve().parent.parent
"""The folder that the service runs from; relative paths in settings begin here, whatever the working directory."""

CLIENTS_VARIABLES: Final = frozenset({"PAYMENTS_URL", "PAYMENTS_API_KEY"})
"""What ``config.client`` reads: known here, so that one environment does for the service and for those who ask it."""

_PREFIX: Final = "PAYMENTS_"
_TESTS_PREFIX: Final = "PAYMENTS_TEST_"
_SECRETS_SUFFIX: Final = "_SECRETS"
_WORKERS_MAX: Final = 256
_COMMANDS_MAX: Final = 700  # fewer than a worker has connections: callbacks and reads must still get in
_DAY_S: Final = 86_400.0


class Role(StrEnum):
    """What a process does: take commands (``api``), call gateways (``processor``) or both."""

    ALL = "all"
    API = "api"
    PROCESSOR = "processor"


class Withdrawals(StrEnum):
    """Whether a withdrawal needs a balance here, or balances are kept elsewhere."""

    CHECKED = "checked"
    UNCHECKED = "unchecked"


class Auth(StrEnum):
    """Whether callers need API keys. ``auto``: unless the service is bound to loopback."""

    AUTO = "auto"
    REQUIRED = "required"
    OFF = "off"


class LogLevel(StrEnum):
    """The least severe lines that are written."""

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
    """Everything an operator can choose. URLs are left out of its ``repr``: they may hold passwords.

    **Authentication.** ``PAYMENTS_AUTH=auto`` (the default) needs no keys while the service is bound to loopback, and
    needs them bound elsewhere. ``off`` serves without keys wherever it is bound: it is for a private network, where
    everybody who can reach the port may move money.
    """

    bind: Address
    workers: int
    """Processes that serve HTTP; always 1 with SQLite, which one process owns."""
    database_url: str = field(repr=False)
    """PostgreSQL as given; SQLite as ``sqlite:///`` and the absolute path, so that it means the same everywhere."""
    sqlite_path: Path | None
    """The database's file, absolute; None with PostgreSQL."""
    migration_database_url: str = field(repr=False)
    """The same database under the role that owns its tables."""
    broker_url: str | None = field(repr=False)
    """None: the local queue."""
    role: Role
    gateways_file: Path
    default_currency: str
    """Three capital letters; whether there is such a currency is for ``domain.money`` to say."""
    withdrawals: Withdrawals
    auth: Auth
    request_deadline_s: float
    commands_max: int
    """Deposits and withdrawals of a process that may wait for their answer at a time."""
    passivate_after_s: float
    lease_s: float
    dead_letter_first_s: float
    dead_letter_max_s: float
    dead_letter_attempts: int
    log_level: LogLevel
    log_format: LogFormat

    @property
    def secret_urls(self) -> tuple[str, ...]:
        """All that may hold a password."""
        return (self.database_url, self.migration_database_url, self.broker_url or "")

    @property
    def auth_required(self) -> bool:
        """Whether callers need API keys."""
        return self.auth is Auth.REQUIRED or (self.auth is Auth.AUTO and not self.bind.is_loopback)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, checkout: Path = CHECKOUT, cores: int = 0) -> Settings:
        """Read all settings; ``cores`` (0: those of this machine) is the default number of workers with PostgreSQL.

        Raises SettingsError with one line that names the first variable that is wrong.
        """
        reader = Reader(environ)
        refuse_bytes(reader)
        settings = _read(reader, checkout, cores or _cores())
        reader.names |= CLIENTS_VARIABLES
        refuse_unknown(reader)
        _refuse_contradictions(settings)
        _refuse_what_is_not_built(settings)
        return settings


def _cores() -> int:
    # The cores that this process may use, which a container limits; not every system can tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def variable_names() -> frozenset[str]:
    """The names of all variables that ``Settings`` reads."""
    reader = Reader({})
    _read(reader, CHECKOUT, 1)
    return frozenset(reader.names)


def refuse_bytes(reader: Reader) -> None:
    """Refuse variables of ours that are not UTF-8. Raises SettingsError."""
    reader.refuse_bytes(_PREFIX, "SIMULATOR_")


def refuse_unknown(reader: Reader) -> None:
    """Refuse variables of ours that ``reader`` was not asked for. Raises SettingsError."""
    reader.refuse_unknown(_PREFIX, _TESTS_PREFIX, _SECRETS_SUFFIX)


def _read(reader: Reader, checkout: Path, cores: int) -> Settings:
    database_url, path = _database(reader, "PAYMENTS_DATABASE_URL", "sqlite:///var/payments.db", checkout)
    migration_url, _ = _database(reader, "PAYMENTS_MIGRATION_DATABASE_URL", database_url, checkout)
    return Settings(
        bind=reader.address("PAYMENTS_BIND", "127.0.0.1:8080"),
        workers=reader.whole("PAYMENTS_WORKERS", 1 if path else cores, 1, _WORKERS_MAX),
        database_url=database_url,
        sqlite_path=path,
        migration_database_url=migration_url,
        broker_url=broker_url("PAYMENTS_BROKER_URL", reader.text("PAYMENTS_BROKER_URL", "")),
        role=reader.word("PAYMENTS_ROLE", Role.ALL),
        gateways_file=checkout / reader.text("PAYMENTS_GATEWAYS_FILE", "config/gateways.toml"),
        default_currency=reader.matching(
            "PAYMENTS_DEFAULT_CURRENCY", "USD", "[A-Z]{3}", "an ISO 4217 code in capital letters, such as USD"
        ),
        withdrawals=reader.word("PAYMENTS_WITHDRAWALS", Withdrawals.CHECKED),
        auth=reader.word("PAYMENTS_AUTH", Auth.AUTO),
        request_deadline_s=reader.seconds("PAYMENTS_REQUEST_DEADLINE_S", 10, 0.1, 120),
        commands_max=reader.whole("PAYMENTS_COMMANDS_MAX", 128, 1, _COMMANDS_MAX),
        passivate_after_s=reader.seconds("PAYMENTS_PASSIVATE_AFTER_S", 120, 0.1, _DAY_S),
        lease_s=reader.seconds("PAYMENTS_LEASE_S", 15, 1, 3600),
        dead_letter_first_s=reader.seconds("PAYMENTS_DEAD_LETTER_FIRST_S", 10, 0.01, _DAY_S),
        dead_letter_max_s=reader.seconds("PAYMENTS_DEAD_LETTER_MAX_S", 3600, 0.01, 30 * _DAY_S),
        dead_letter_attempts=reader.whole("PAYMENTS_DEAD_LETTER_ATTEMPTS", 12, 1, 1000),
        log_level=reader.word("PAYMENTS_LOG_LEVEL", LogLevel.INFO),
        log_format=reader.word("PAYMENTS_LOG_FORMAT", LogFormat.JSON),
    )


def _database(reader: Reader, name: str, default: str, checkout: Path) -> tuple[str, Path | None]:
    url = reader.text(name, default)
    path = sqlite_path(name, url, checkout)
    return (url, None) if path is None else (sqlite_url(path), path)


def _refuse_contradictions(settings: Settings) -> None:
    if settings.sqlite_path and settings.workers > 1:
        message = (
            f"PAYMENTS_WORKERS must be 1 with a SQLite database, which a single process owns, not {settings.workers}"
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


def _refuse_what_is_not_built(settings: Settings) -> None:
    """What the contract promises and this version cannot do yet; each line goes when its part is built."""
    if settings.broker_url is not None:
        message = "PAYMENTS_BROKER_URL: RabbitMQ is not built yet, leave it empty for the local queue"
    elif settings.role is Role.PROCESSOR:
        message = "PAYMENTS_ROLE: processor is not built yet, use all (or api, which accepts and does not process)"
    else:
        return
    raise SettingsError(message)

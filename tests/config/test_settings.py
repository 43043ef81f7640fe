"""Settings: the accepted values of each variable. Every refusal is one clear line without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import (
    Auth,
    EventsMode,
    LogFormat,
    LogLevel,
    Role,
    Settings,
    SettingsError,
    Withdrawals,
    variable_names,
)
from config.values import BindAddress

CHECKOUT = Path("/srv/payments")


def read(**environ: str) -> Settings:
    """Settings as they are read in the folder ``CHECKOUT`` on a machine with four cores."""
    return Settings.from_environ(environ, checkout=CHECKOUT, cores=4)


def refusal_of(**environ: str) -> str:
    """The text with which an environment is refused."""
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    return str(caught.value)


def test_defaults() -> None:
    """In an empty environment every setting has its documented default."""
    assert read() == Settings(
        bind=BindAddress("127.0.0.1", 8080),
        workers=1,
        database_url="sqlite:////srv/payments/var/payments.db",
        migration_database_url="sqlite:////srv/payments/var/payments.db",
        broker_url=None,
        events_mode=EventsMode.BINARY,
        public_url="http://127.0.0.1:8080",
        role=Role.ALL,
        gateways_file=CHECKOUT / "config/gateways.toml",
        default_currency="USD",
        withdrawals=Withdrawals.CHECKED,
        auth=Auth.AUTO,
        request_deadline_s=10.0,
        commands_max=128,
        passivate_after_s=120.0,
        lease_s=15.0,
        dead_letter_first_s=10.0,
        dead_letter_max_s=3600.0,
        dead_letter_attempts=12,
        log_level=LogLevel.INFO,
        log_format=LogFormat.JSON,
    )
    assert read().sqlite_path == CHECKOUT / "var/payments.db"


def test_empty_variables_count_as_not_set() -> None:
    """A variable with an empty value, as in many compose files, has its default."""
    assert read(**dict.fromkeys(variable_names(), "")) == read()


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("PAYMENTS_BIND", "localhost:9000", "bind", BindAddress("localhost", 9000)),
        ("PAYMENTS_BIND", "127.8.9.1:1", "bind", BindAddress("127.8.9.1", 1)),
        ("PAYMENTS_BIND", "[::1]:65535", "bind", BindAddress("::1", 65535)),
        ("PAYMENTS_BIND", "[::ffff:127.0.0.1]:80", "bind", BindAddress("::ffff:127.0.0.1", 80)),
        ("PAYMENTS_WORKERS", "1", "workers", 1),
        ("PAYMENTS_DATABASE_URL", "sqlite:///a/b.db", "sqlite_path", CHECKOUT / "a/b.db"),
        ("PAYMENTS_DATABASE_URL", "sqlite:////var/lib/b.db", "sqlite_path", Path("/var/lib/b.db")),
        ("PAYMENTS_DATABASE_URL", "sqlite:///a%20b.db", "sqlite_path", CHECKOUT / "a b.db"),
        ("PAYMENTS_DATABASE_URL", "sqlite:///a%20b.db", "database_url", "sqlite:////srv/payments/a%20b.db"),
        ("PAYMENTS_ROLE", "api", "role", Role.API),
        ("PAYMENTS_BROKER_URL", "amqp://me:x@mq/pay", "broker_url", "amqp://me:x@mq/pay"),
        ("PAYMENTS_BROKER_URL", "amqps://mq", "broker_url", "amqps://mq"),
        ("PAYMENTS_BROKER_URL", "kafka://one:9092,two:9092", "broker_url", "kafka://one:9092,two:9092"),
        ("PAYMENTS_EVENTS_MODE", "structured", "events_mode", EventsMode.STRUCTURED),
        ("PAYMENTS_BROKER_URL", "", "broker_url", None),
        ("PAYMENTS_GATEWAYS_FILE", "here.toml", "gateways_file", CHECKOUT / "here.toml"),
        ("PAYMENTS_GATEWAYS_FILE", "/etc/gateways.toml", "gateways_file", Path("/etc/gateways.toml")),
        ("PAYMENTS_DEFAULT_CURRENCY", "KWD", "default_currency", "KWD"),
        ("PAYMENTS_AUTH", "off", "auth", Auth.OFF),
        ("PAYMENTS_REQUEST_DEADLINE_S", "2.5", "request_deadline_s", 2.5),
        ("PAYMENTS_COMMANDS_MAX", "700", "commands_max", 700),
        ("PAYMENTS_PASSIVATE_AFTER_S", "0.1", "passivate_after_s", 0.1),
        ("PAYMENTS_LEASE_S", "30", "lease_s", 30.0),
        ("PAYMENTS_DEAD_LETTER_FIRST_S", "0.01", "dead_letter_first_s", 0.01),
        ("PAYMENTS_DEAD_LETTER_MAX_S", "10", "dead_letter_max_s", 10.0),
        ("PAYMENTS_DEAD_LETTER_ATTEMPTS", "1", "dead_letter_attempts", 1),
        ("PAYMENTS_LOG_LEVEL", "DEBUG", "log_level", LogLevel.DEBUG),
        ("PAYMENTS_LOG_FORMAT", "console", "log_format", LogFormat.CONSOLE),
    ],
)
def test_good_values(name: str, text: str, attribute: str, value: object) -> None:
    """Every variable accepts its documented values and becomes a typed value."""
    assert getattr(read(**{name: text}), attribute) == value


@pytest.mark.parametrize(
    ("name", "text", "accepted"),
    [
        *(
            ("PAYMENTS_BIND", text, "host:port")
            for text in (
                *("8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:+80"),
                *("127.0.0.1:٣", "::1:8080", "[::1]", "[127.0.0.1]:80", "[]:80", "300.1.1.1:80", "a b:80", "unix:/s"),
            )
        ),
        *(("PAYMENTS_WORKERS", text, "a whole number from 1") for text in ("0", "-1", "two", "1.5", "1_0", "1" * 20)),
        *(("PAYMENTS_ROLE", text, "one of all, api, processor") for text in ("API", "worker", " all")),
        *(("PAYMENTS_DEFAULT_CURRENCY", text, "ISO 4217") for text in ("usd", "EURO", "€€€", "US")),
        ("PAYMENTS_WITHDRAWALS", "yes", "one of checked, unchecked"),
        ("PAYMENTS_AUTH", "none", "one of auto, required, off"),
        *(
            ("PAYMENTS_REQUEST_DEADLINE_S", text, "a number of seconds from 0.1 to 120")
            for text in ("0", "-1", "121", "1e1", "nan", "inf", "10s", "1_0", "٣", ".5", " 5")
        ),
        *(("PAYMENTS_COMMANDS_MAX", text, "a whole number from 1 to 700") for text in ("0", "701", "many")),
        ("PAYMENTS_PASSIVATE_AFTER_S", "0", "a number of seconds from 0.1 to 86400"),
        ("PAYMENTS_LEASE_S", "0.5", "a number of seconds from 1 to 3600"),
        ("PAYMENTS_DEAD_LETTER_FIRST_S", "0", "a number of seconds from 0.01"),
        ("PAYMENTS_DEAD_LETTER_MAX_S", "0", "a number of seconds from 0.01"),
        ("PAYMENTS_DEAD_LETTER_ATTEMPTS", "0", "a whole number from 1 to 1000"),
        ("PAYMENTS_LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("PAYMENTS_LOG_FORMAT", "xml", "one of json, console"),
    ],
)
def test_bad_values(name: str, text: str, accepted: str) -> None:
    """A value out of range or of another type is refused with its name, the accepted values, and the value."""
    message = refusal_of(**{name: text})
    assert message.startswith(f"{name} must be ")
    assert accepted in message
    assert repr(text) in message


@pytest.mark.parametrize("name", ["PAYMENTS_DATABASE_URL", "PAYMENTS_MIGRATION_DATABASE_URL"])
def test_a_database_of_another_kind(name: str) -> None:
    """It is refused with its scheme only."""
    message = refusal_of(**{name: "mysql://me:hunter2@host/db"})
    assert message.startswith(f"{name} must be ")
    assert "hunter2" not in message


@pytest.mark.parametrize("name", ["PAYMENTS_DATABASE_URL", "PAYMENTS_MIGRATION_DATABASE_URL", "PAYMENTS_BROKER_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql:/me:hunter2@host/db",
        "postgresql://me:hunter2@host:port/db",
        "postgresql://me:hunter2@[host/db",
        "postgresql://me:hunter2@host/db\n",
        "sqlite:me:hunter2",
        "amqp://",
        "amqp:me:hunter2@host",
        "amqp://me:hunter2@host:99999/pay",
        "host=db password=hunter2",
    ],
)
def test_bad_urls(name: str, url: str) -> None:
    """A wrong URL is refused with its scheme only: it may contain a password anywhere."""
    message = refusal_of(**{name: url})
    assert message.startswith(f"{name} must be ")
    assert "hunter2" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("given", "bind", "expected"),
    [
        ("", "[::1]:9000", "http://[::1]:9000"),
        ("", "", "http://127.0.0.1:8080"),
        ("https://pay.example.com", "0.0.0.0:80", "https://pay.example.com"),
        ("https://pay.example.com/", "", "https://pay.example.com"),
        ("http://pay.example.com:8443/gateway/", "", "http://pay.example.com:8443/gateway"),
    ],
)
def test_the_public_address(given: str, bind: str, expected: str) -> None:
    """It is the given one without a slash at its end, or the address of the API."""
    assert read(PAYMENTS_PUBLIC_URL=given, PAYMENTS_BIND=bind).public_url == expected


@pytest.mark.parametrize(
    "url",
    [
        "pay.example.com",
        "ftp://pay.example.com",
        "https://",
        "https://:443",
        "https://me:hunter2@pay.example.com",
        "https://pay.example.com?key=hunter2",
        "https://pay.example.com/#hunter2",
        "https://pay.example.com:port",
        "https://pay.exämple.com",
        "https://pay.example.com/a b",
    ],
)
def test_bad_public_addresses(url: str) -> None:
    """A URL that cannot be the beginning of a schema's id is refused, and its secrets are not shown."""
    message = refusal_of(PAYMENTS_PUBLIC_URL=url)
    assert message.startswith("PAYMENTS_PUBLIC_URL must be an address such as https://payments.example.com")
    assert "hunter2" not in message


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "sqlite:///var/", "sqlite:///a.db?mode=ro"])
def test_sqlite_needs_a_file(url: str) -> None:
    """A database without a file would lose acknowledged data."""
    assert refusal_of(PAYMENTS_DATABASE_URL=url).startswith("PAYMENTS_DATABASE_URL must name a file")


def test_sqlite_has_one_process() -> None:
    """More than one worker on SQLite is refused at start."""
    assert refusal_of(PAYMENTS_WORKERS="2") == (
        "PAYMENTS_WORKERS must be 1 with a SQLite database, which a single process owns, not 2"
    )


def test_the_migration_url_names_the_same_database() -> None:
    """The tables cannot be created in one database and used in another."""
    assert "must name the same database" in refusal_of(PAYMENTS_MIGRATION_DATABASE_URL="sqlite:///other.db")
    assert "must name the same database" in refusal_of(PAYMENTS_MIGRATION_DATABASE_URL="postgresql://h/d")


@pytest.mark.parametrize("role", ["processor", "relay"])
def test_roles_that_share_a_database_need_a_server(role: str) -> None:
    """One process owns a SQLite database, so another one could never reach it."""
    refusal = f"PAYMENTS_ROLE={role} needs PostgreSQL: a single process owns a SQLite database, as all or api"
    assert refusal_of(PAYMENTS_ROLE=role, PAYMENTS_BROKER_URL="amqp://me:hunter2@mq") == refusal
    assert read(PAYMENTS_ROLE=role, PAYMENTS_DATABASE_URL="postgresql://h/d").role == role


@pytest.mark.parametrize(
    ("role", "serves_clients", "processes", "relays"),
    [
        ("all", True, True, True),
        ("api", True, False, False),
        ("processor", False, True, False),
        ("relay", False, False, True),
    ],
)
def test_what_each_role_does(role: str, *, serves_clients: bool, processes: bool, relays: bool) -> None:
    """With and without a broker."""
    for broker in ("", "amqp://me:hunter2@mq"):
        settings = read(PAYMENTS_ROLE=role, PAYMENTS_DATABASE_URL="postgresql://h/d", PAYMENTS_BROKER_URL=broker)
        does = (settings.serves_clients, settings.processes, settings.relays)
        assert does == (serves_clients, processes, relays)
        assert "hunter2" not in repr(settings)


def test_the_longest_wait_is_not_below_the_first() -> None:
    """Waits double from the first to the longest, so the longest must not be shorter than the first."""
    message = refusal_of(PAYMENTS_DEAD_LETTER_FIRST_S="20", PAYMENTS_DEAD_LETTER_MAX_S="10")
    assert message == "PAYMENTS_DEAD_LETTER_MAX_S must not be below PAYMENTS_DEAD_LETTER_FIRST_S (20), not 10"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PAYMENTS_WORKER", "did you mean PAYMENTS_WORKERS?"),
        ("PAYMENTS_DATABSE_URL", "did you mean PAYMENTS_DATABASE_URL?"),
        ("PAYMENTS_LOGLEVEL", "did you mean PAYMENTS_LOG_LEVEL?"),
        ("PAYMENTS_GATEWAY_A_SECRET", "did you mean PAYMENTS_GATEWAY_A_SECRETS?"),
        ("PAYMENTS_COLOUR", "all other settings are listed in the README"),
    ],
)
def test_unknown_variables(name: str, hint: str) -> None:
    """A mistyped name is refused with the closest known name. Its value may be a secret and is not shown."""
    message = refusal_of(**{name: "hunter2"})
    assert message.startswith(f"{name} is not a setting: ")
    assert message.endswith(hint)
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYMENTS_GATEWAY_A_SECRETS", "whsec_bmV3,whsec_b2xk"),
        ("PAYMENTS_TEST_DATABASE_URL", "postgresql://localhost/test"),
        ("PAYMENTS_SERVICE_HOST", "10.0.0.1"),
        ("PAYMENTS_API_SERVICE_PORT_HTTP", "8080"),
        ("PAYMENTS_PORT", "tcp://10.0.0.1:8080"),
        ("PAYMENTS_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("MAYMENTS_WORKERS", "2"),
    ],
)
def test_variables_of_others(name: str, value: str) -> None:
    """Callback secrets, the test suite's variables and those that Kubernetes sets beside a Service are accepted."""
    assert read(**{name: value}) == read()


@pytest.mark.parametrize(
    ("bind", "auth", "required"),
    [
        ("127.0.0.1:8080", "auto", False),
        ("[::1]:8080", "auto", False),
        ("localhost:8080", "auto", False),
        ("0.0.0.0:8080", "auto", True),
        ("[::]:8080", "auto", True),
        ("payments.internal:80", "auto", True),
        ("127.0.0.1:8080", "required", True),
        ("0.0.0.0:8080", "required", True),
        ("127.0.0.1:8080", "off", False),
    ],
)
def test_keys_are_needed_off_loopback(bind: str, auth: str, required: bool) -> None:  # noqa: FBT001  # a table
    """By default the service needs API keys when other machines can reach it."""
    assert read(PAYMENTS_BIND=bind, PAYMENTS_AUTH=auth).auth_required is required


def test_without_keys_off_loopback_by_decision_only() -> None:
    """PAYMENTS_AUTH=off serves on any address: the operator states that the network is private."""
    settings = read(PAYMENTS_BIND="0.0.0.0:8080", PAYMENTS_AUTH="off")
    assert not settings.auth_required
    assert settings.bind.callable_here == BindAddress("127.0.0.1", 8080)


def test_postgresql_has_a_worker_for_each_core_by_default() -> None:
    """A server's database serves many processes. The URL is used as it was given."""
    url = "postgresql://me:hunter2@db:5432/pay?sslmode=require"
    settings = Settings.from_environ({"PAYMENTS_DATABASE_URL": url}, cores=6)
    assert (settings.workers, settings.database_url, settings.migration_database_url) == (6, url, url)
    assert settings.sqlite_path is None
    assert read(PAYMENTS_DATABASE_URL=url, PAYMENTS_WORKERS="3").workers == 3
    owner = "postgresql://owner@db/pay"
    assert read(PAYMENTS_DATABASE_URL=url, PAYMENTS_MIGRATION_DATABASE_URL=owner).migration_database_url == owner
    assert "hunter2" not in repr(settings)


def test_no_password_in_a_repr() -> None:
    """Settings in a log or a traceback show no URL."""
    assert "sqlite:" not in repr(read(PAYMENTS_DATABASE_URL="sqlite:////tmp/hunter2.db"))


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("::1", "[::1]:80"),
        ("a.b", "a.b:80"),
    ],
)
def test_addresses_print_as_they_are_read(host: str, text: str) -> None:
    """An address prints in the form that PAYMENTS_BIND accepts."""
    assert str(BindAddress(host, 80)) == text

"""docker-compose.yml and Dockerfile fit the service that they start; no container engine is needed.

test_compose_runs.py starts the services.
"""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from urllib.parse import urlsplit

import pytest
import yaml

from config.settings import Settings, variable_names
from config.values import parse_address
from tests.tooling.checkout import CHECKOUT
from tests.tooling.composed import IMAGE_COMMAND
from tests.tooling.composition import BROKERS, COMPOSE, SERVICES, environment, mounts, networks, profiles

DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
OF_LIBPQ = {"PGPASSWORD"}
LOOPBACK = "127.0.0.1:"
ROLES = ("-administrator", "-owner", "-service", "-compose-broker")
BROKER_PASSWORD = COMPOSE["x-broker-password"]
OF_PROFILES = [name for name in SERVICES if profiles(name) and name not in BROKERS]


@pytest.mark.parametrize("name", ["service", "migrate"])
def test_settings(name: str) -> None:
    """The variables of the containers are valid settings for a service on PostgreSQL."""
    variables = environment(name)
    assert {each for each in variables if not each.endswith("_SECRETS")} <= variable_names() | OF_LIBPQ
    settings = Settings.from_environ(variables, checkout=CHECKOUT)
    assert settings.sqlite_path is None
    assert settings.migration_database_url.partition("@")[2] == settings.database_url.partition("@")[2]


def test_the_embedded_store() -> None:
    """With the README's override file, both services use one SQLite file in a volume."""
    [text] = re.findall(r"^```yaml\n(.*?)^```", (CHECKOUT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    override = yaml.safe_load(text)
    for name in ("service", "migrate"):
        merged = environment(name) | override["services"][name]["environment"]
        settings = Settings.from_environ(merged, checkout=CHECKOUT)
        assert settings.workers == 1
        [volume] = override["services"][name]["volumes"]
        assert str(settings.sqlite_path).startswith(f"{volume.partition(':')[2]}/")
        assert volume.partition(":")[0] in override["volumes"]


def test_each_password_stands_once() -> None:
    """Each demonstration password is defined once and marked as such; those of the roles differ.

    The broker's is once more in the broker's URL, since clients of brokers take it from there.
    """
    text = (CHECKOUT / "docker-compose.yml").read_text()
    secrets = {value for key, value in COMPOSE.items() if key.endswith(("-password", "-secret"))}
    assert len(secrets) == 6
    for secret in secrets:
        assert text.count(secret) == (2 if secret == BROKER_PASSWORD else 1)
    assert all("demonstration" in value for key, value in COMPOSE.items() if key.endswith("-password"))
    used = {value for name in SERVICES for key, value in environment(name).items() if "PASS" in key or "SECRET" in key}
    assert used == secrets
    values = [value for name in SERVICES for value in environment(name).values()]
    assert {login for value in values if ":" in (login := urlsplit(value).netloc.rpartition("@")[0])} == {
        f"payments:{BROKER_PASSWORD}"
    }


def test_each_container_has_only_its_passwords() -> None:
    """No service has the owner's password or the administrator's, and simulator and Kafka have none."""
    passwords = {name: {value for value in environment(name).values() if value.endswith(ROLES)} for name in SERVICES}
    assert {name: {value.rpartition("-")[2] for value in values} for name, values in passwords.items()} == {
        "database": {"administrator", "owner", "service"},
        "migrate": {"owner"},
        "simulator": set(),
        "service": {"service"},
        **{name: {"service"} for name in OF_PROFILES},
        "rabbitmq": {"broker"},
        "kafka": set(),
    }


def test_published_on_loopback_only() -> None:
    """No port is reachable from other machines, since the service requires no keys; the database is not published."""
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert published["service"] == [f"{LOOPBACK}8080:8080"]
    assert published["database"] == published["migrate"] == []
    assert all(port.startswith(LOOPBACK) for ports in published.values() for port in ports)


def test_networks() -> None:
    """Only services and migrations reach the database, on a network without a route outside."""
    assert COMPOSE["networks"] == {"default": {}, "data": {"internal": True}, "broker": {}}
    reaching = {name for name in SERVICES if "data" in networks(name)}
    assert reaching == {"database", "migrate", "service", *OF_PROFILES}
    assert SERVICES["service"]["networks"] == ["default", "data"]


def test_service_and_simulator_find_each_other() -> None:
    """Gateway URL, callback URL and callback secrets of service and simulator match."""
    variables = environment("service")
    tables = tomllib.loads((CHECKOUT / variables["PAYMENTS_GATEWAYS_FILE"]).read_text())
    simulator = parse_address("SIMULATOR_BIND", environment("simulator")["SIMULATOR_BIND"])
    for table in tables.values():
        assert urlsplit(table["url"]).netloc == f"simulator:{simulator.port}"
        if "callback_secrets_env" not in table:
            continue
        secrets = table["callback_secrets_env"]
        shared = secrets.replace("PAYMENTS_", "SIMULATOR_").removesuffix("S")
        assert variables[secrets] == environment("simulator")[shared]
    bind = parse_address("PAYMENTS_BIND", variables["PAYMENTS_BIND"])
    assert environment("simulator")["SIMULATOR_CALLBACK_URL"] == f"http://service:{bind.port}/v1/callbacks"


def test_order() -> None:
    """The service starts after the migration and the simulator; the migration starts after the database is healthy."""
    healthy = {"condition": "service_healthy"}
    assert SERVICES["migrate"]["depends_on"] == {"database": healthy}
    assert SERVICES["service"]["depends_on"] == {
        "database": healthy,
        "migrate": {"condition": "service_completed_successfully"},
        "simulator": healthy,
    }


def test_commands_are_of_manage_py() -> None:
    """Containers run commands of manage.py, and the service runs the image's default command."""
    commands = {name: service.get("command") for name, service in SERVICES.items()}
    assert commands == {
        "database": None,
        "migrate": ["python", "manage.py", "migrate"],
        "simulator": ["python", "manage.py", "simulator"],
        "service": None,
        **dict.fromkeys([*OF_PROFILES, *BROKERS]),
    }
    assert f"CMD [{', '.join(map(quoted, IMAGE_COMMAND))}]" in DOCKERFILE


def quoted(word: str) -> str:
    """A word as it is written in the Dockerfile."""
    return f'"{word}"'


@pytest.mark.parametrize(("name", "bind"), [("service", "PAYMENTS_BIND"), ("simulator", "SIMULATOR_BIND")])
def test_health_checks(name: str, bind: str) -> None:
    """Each health check is Python, which the image has, and calls the port of its container."""
    kind, program, option, code = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    assert f"http://127.0.0.1:{environment(name)[bind].rpartition(':')[2]}/" in code


def test_the_database_is_healthy_when_its_roles_are_made() -> None:
    """The health check uses TCP: while the image creates the roles, its server answers only on a socket."""
    kind, program, *arguments = SERVICES["database"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "pg_isready")
    assert any("@127.0.0.1:5432/" in argument for argument in arguments)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_hardened(name: str) -> None:
    """No container is root or has or gains capabilities, and each writes only to memory and volumes."""
    service = SERVICES[name]
    assert service["user"] in {"10001:10001", "postgres", "rabbitmq", "appuser"}
    assert service["read_only"] is (name != "kafka")  # its image writes its configuration at each start
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]  # noqa: S108 - a folder of the container
    assert service["healthcheck"]


def test_data_outlive_containers() -> None:
    """Written data are in named volumes; files mounted from the checkout exist and are read-only."""
    written = {(name, mount.target) for name in SERVICES for mount in mounts(name) if mount.named}
    assert written == {
        ("database", "/var/lib/postgresql"),
        ("simulator", "/app/var"),
        ("rabbitmq", "/var/lib/rabbitmq"),
        ("kafka", "/var/lib/kafka/data"),
    }
    assert {mount.source for name in SERVICES for mount in mounts(name) if mount.named} == set(COMPOSE["volumes"])
    for mount in (mount for name in SERVICES for mount in mounts(name) if not mount.named):
        assert mount.read_only
        assert (CHECKOUT / mount.source).is_file()
    assert environment("simulator")["SIMULATOR_LEDGER"].startswith("/app/var/")
    assert not re.search(r"^VOLUME", DOCKERFILE, re.MULTILINE)  # it would create an anonymous volume for the service


def test_versions_are_pinned() -> None:
    """Each image has a version, and none is "latest"."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    for image in (*bases, *(service["image"] for service in SERVICES.values())):
        assert re.fullmatch(
            r"python:3\.\d+-.+|postgres:\d+-.+|rabbitmq:4\.\d+-.+|apache/kafka:4\.\d+\.\d+|payments:dev", image
        )
    assert SERVICES["database"]["image"].startswith("postgres:")


def test_time_to_stop() -> None:
    """The engine's time limit for a stop is longer than that of gunicorn."""
    deadline_s = Settings.from_environ(environment("service")).request_deadline_s
    conf = (CHECKOUT / "gunicorn.conf.py").read_text()
    keepalive = re.search(r"^keepalive = (\d+)$", conf, re.MULTILINE)
    rest = re.search(r"^graceful_timeout = .* \+ keepalive \+ (\d+)$", conf, re.MULTILINE)
    assert keepalive is not None
    assert rest is not None
    assert int(SERVICES["service"]["stop_grace_period"].rstrip("s")) > deadline_s + int(keepalive[1]) + int(rest[1])


def test_the_image() -> None:
    """The image installs locked dependencies with their hashes and runs as an unprivileged user."""
    assert DOCKERFILE.startswith("#")
    assert "FROM python:3.11-slim" in DOCKERFILE
    assert "--require-hashes --requirement requirements.txt" in DOCKERFILE
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


def test_what_goes_into_the_image() -> None:
    """The build context holds every package and the start files, but no data, tests or secrets."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    rooms = {folder.parent.name for folder in CHECKOUT.glob("*/__init__.py")} - {"tests", "bench"}
    assert "*" in lines
    assert "cli" in rooms
    for name in (*rooms, "wsgi.py", "gunicorn.conf.py", "manage.py", "requirements.txt"):
        assert any(fnmatch(name, pattern) for pattern in kept)
    for name in ("var", "tests", ".env", ".git", ".venv", "bench"):
        assert not any(fnmatch(name, pattern) for pattern in kept)

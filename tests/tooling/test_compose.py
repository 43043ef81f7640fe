"""docker-compose.yml and Dockerfile, held against the service that they start; no container engine is needed."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from config.settings import Settings, variable_names
from config.values import parse_address
from tests.tooling.checkout import CHECKOUT

COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()


def environment(name: str) -> dict[str, str]:
    """The variables of a service, all of which must be texts: YAML makes other things of off, 1 and yes."""
    variables = SERVICES[name].get("environment", {})
    assert all(isinstance(value, str) for value in variables.values())
    return dict(variables)


@pytest.mark.parametrize("name", ["service", "migrate"])
def test_settings(name: str) -> None:
    """What the containers get are settings, and the service would start with them."""
    variables = environment(name)
    names = variable_names()
    assert {each for each in variables if not each.endswith("_SECRETS")} <= names
    settings = Settings.from_environ(variables, checkout=CHECKOUT)
    assert settings.sqlite_path is not None
    assert str(settings.sqlite_path.parent) == "/app/var"


def test_published_on_loopback_only() -> None:
    """Nothing is reachable from another machine, for the service asks for no keys."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert "127.0.0.1:8080:8080" in published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_service_and_simulator_find_each_other() -> None:
    """Gateway URL, callback URL and callback secret meet."""
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
    """The service starts when there are tables and a provider."""
    assert SERVICES["service"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "simulator": {"condition": "service_healthy"},
    }


def test_commands_are_of_manage_py() -> None:
    """Containers run commands that manage.py has, and the service what the image runs by itself."""
    commands = {name: service.get("command") for name, service in SERVICES.items()}
    assert commands == {
        "service": None,
        "migrate": ["python", "manage.py", "migrate"],
        "simulator": ["python", "manage.py", "simulator"],
    }
    assert 'CMD ["gunicorn", "wsgi:app"]' in DOCKERFILE


@pytest.mark.parametrize("name", ["service", "simulator"])
def test_health_checks(name: str) -> None:
    """Each health check is Python, which the image has, and asks the port that its container listens on."""
    kind, program, option, code = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    compile(code, "healthcheck", "exec")
    bind = environment(name)["PAYMENTS_BIND" if name == "service" else "SIMULATOR_BIND"]
    assert f"http://127.0.0.1:{bind.rpartition(':')[2]}/" in code


def test_data_outlive_containers() -> None:
    """Every container writes its data to a named volume, on an otherwise read-only file system and without rights."""
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        [volume] = service["volumes"]
        name, path = volume.split(":")
        assert name in COMPOSE["volumes"]
        assert path == "/app/var"


def test_time_to_stop() -> None:
    """The engine does not kill the service before gunicorn has given up waiting itself."""
    variables = environment("service")
    deadline_s = Settings.from_environ(variables).request_deadline_s
    conf = (CHECKOUT / "gunicorn.conf.py").read_text()
    keepalive = re.search(r"^keepalive = (\d+)$", conf, re.MULTILINE)
    rest = re.search(r"^graceful_timeout = .* \+ keepalive \+ (\d+)$", conf, re.MULTILINE)
    assert keepalive is not None
    assert rest is not None
    assert int(SERVICES["service"]["stop_grace_period"].rstrip("s")) > deadline_s + int(keepalive[1]) + int(rest[1])


def test_the_image() -> None:
    """The image installs locked dependencies with their hashes and runs as a user that is not root."""
    assert DOCKERFILE.startswith("#")
    assert "FROM python:3.11-slim" in DOCKERFILE
    assert "--require-hashes --requirement requirements.txt" in DOCKERFILE
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


def test_what_goes_into_the_image() -> None:
    """The build context holds every room and what starts them, and neither data nor tests nor secrets."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    needed = ["actors", "api", "config", "domain", "gateways", "store", "wsgi.py", "gunicorn.conf.py", "manage.py"]
    assert "*" in lines
    for name in (*needed, "requirements.txt"):
        assert any(fnmatch(name, pattern) for pattern in kept)
    for name in ("var", "tests", ".env", ".git", ".venv", "bench"):
        assert not any(fnmatch(name, pattern) for pattern in kept)

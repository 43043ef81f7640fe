"""The profiles of docker-compose.yml: a service for each role and a broker, and they leave the default as it is."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from config.settings import Role, Settings, variable_names
from messaging.brokers import broker_of
from tests.tooling.checkout import CHECKOUT
from tests.tooling.composition import BROKERS, COMPOSE, SERVICES, environment, host_names, networks, profiles, started

DEFAULT = ["database", "migrate", "simulator", "service"]


def services(profile: str) -> dict[Role, str]:
    """The service of each role in a profile."""
    roles = {environment(name).get("PAYMENTS_ROLE"): name for name in started(profile)}
    return {role: roles[role] for role in (Role.API, Role.PROCESSOR, Role.RELAY)}


def test_the_default_has_no_broker() -> None:
    """Without a profile compose starts what it started before there were profiles."""
    assert sorted(started()) == sorted(DEFAULT)
    assert not any(name in BROKERS for name in started())
    assert "PAYMENTS_BROKER_URL" not in environment("service")
    assert "PAYMENTS_ROLE" not in environment("service")


@pytest.mark.parametrize("profile", BROKERS)
def test_a_profile_starts_each_role_and_its_broker(profile: str) -> None:
    """The service with all roles is left out, as the file describes, and nothing of the other profile starts."""
    roles = [*services(profile).values()]
    assert sorted(started(profile)) == sorted(["database", "migrate", "simulator", profile, *roles])
    text = (CHECKOUT / "docker-compose.yml").read_text()
    assert "docker compose --profile rabbitmq up --build --scale service=0\n" in text


@pytest.mark.parametrize("profile", BROKERS)
def test_settings_of_the_roles(profile: str) -> None:
    """The variables are valid settings, and the adapter of the broker accepts its URL. api needs no broker."""
    for role, name in services(profile).items():
        variables = environment(name)
        assert {each for each in variables if not each.endswith("_SECRETS")} <= variable_names() | {"PGPASSWORD"}
        settings = Settings.from_environ(variables, checkout=CHECKOUT)
        assert settings.role is role
        assert settings.sqlite_path is None
        assert (settings.broker_url is None) == (role is Role.API)
        if settings.broker_url is not None:
            broker_of(settings.broker_url).publisher(settings.broker_url, structured=False).close()
            parts = urlsplit(settings.broker_url)
            assert parts.hostname == profile
            assert {parts.hostname, "broker"} <= {profile, *networks(name)}
            assert "broker" in networks(profile)
            if parts.username is not None:
                login = {"RABBITMQ_DEFAULT_USER": parts.username, "RABBITMQ_DEFAULT_PASS": parts.password}
                assert login.items() <= environment(profile).items()


@pytest.mark.parametrize("profile", BROKERS)
def test_the_settings_differ_only_by_role(profile: str) -> None:
    """Database, gateways and secrets are those of the service that has all roles."""
    own = {"PAYMENTS_ROLE", "PAYMENTS_BROKER_URL", "PAYMENTS_WORKERS", "PAYMENTS_PUBLIC_URL"}
    common = {variable: value for variable, value in environment("service").items() if variable not in own}
    for name in services(profile).values():
        assert {variable: value for variable, value in environment(name).items() if variable not in own} == common


@pytest.mark.parametrize("profile", BROKERS)
def test_the_same_schemas_are_named(profile: str) -> None:
    """The relay names the schemas below the address at which this machine reaches the API."""
    roles = services(profile)
    (port,) = SERVICES[roles[Role.API]]["ports"]
    assert port == "127.0.0.1:8081:8080"
    for role in (Role.API, Role.RELAY):
        assert environment(roles[role])["PAYMENTS_PUBLIC_URL"] == "http://127.0.0.1:8081"
    assert "ports" not in SERVICES[roles[Role.PROCESSOR]]
    assert "ports" not in SERVICES[roles[Role.RELAY]]


@pytest.mark.parametrize("profile", BROKERS)
def test_callbacks_reach_the_api(profile: str) -> None:
    """The host name to which the simulator sends callbacks is the api's, on the network that both share."""
    host = urlsplit(environment("simulator")["SIMULATOR_CALLBACK_URL"]).hostname
    assert host is not None
    assert host_names(started())[host] == "service"
    assert host_names(started(profile))[host] == "api"
    assert host in networks("api")["default"]["aliases"]
    assert "default" in networks("simulator")


def test_brokers_are_published_on_loopback_only() -> None:
    """Consumers on this machine reach them, and nothing else of other machines."""
    for name in BROKERS:
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
        assert profiles(name) == [name]
        assert [*networks(name)] == ["broker"]
    assert environment("kafka")["KAFKA_ADVERTISED_LISTENERS"] == "SERVICES://kafka:9092,CONSUMERS://127.0.0.1:29092"


def test_the_data_of_rabbitmq_are_found_again() -> None:
    """A new container has the same host name, which is part of the folder of the node's data."""
    assert SERVICES["rabbitmq"]["hostname"] == "rabbitmq"
    assert {"rabbitmq-data", "kafka-data"} <= COMPOSE["volumes"].keys()

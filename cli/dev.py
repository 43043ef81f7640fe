"""``manage.py dev``: the service with simulated providers on this machine, and first steps for a new user."""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import sys
from collections.abc import Mapping
from typing import Final

from cli.command import CommandError, say
from cli.text import without_password
from config import gateways_file
from config.settings import CHECKOUT, Settings, SettingsError
from config.values import BindAddress, parse_address
from domain.money import MoneyError, exponent_of
from gateways.development import SIMULATOR_SECRETS
from gateways.registry import callback_secrets, read_settings
from gateways.settings import GatewaySettingsError
from server.processes import ChildError, Children, StopAskedError

_READY_WITHIN_S: Final = 60.0
_STOPS_WITHIN_S: Final = 5.0
# Beyond the longest request: more than the graceful_timeout of gunicorn.conf.py, after which it kills its workers.
_SERVICE_STOPS_WITHIN_S: Final = 40.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments."""
    del parser


def run(_arguments: argparse.Namespace) -> int:
    """Run everything on this machine, until Ctrl-C: migrations, simulated providers and service."""
    environ = {"PAYMENTS_LOG_FORMAT": "console", **os.environ}
    settings = Settings.from_environ(environ)
    provider = parse_address("SIMULATOR_BIND", environ.get("SIMULATOR_BIND") or "127.0.0.1:8090")
    try:
        # The service would report the same, between the lines of three processes.
        exponent_of(settings.default_currency)
        gateways = read_settings(gateways_file.read(settings.gateways_file))
        secrets = callback_secrets(gateways, environ, loopback=settings.bind.is_loopback)
    except MoneyError as error:
        raise SettingsError(f"PAYMENTS_DEFAULT_CURRENCY: {error}") from error
    except GatewaySettingsError as error:
        raise SettingsError(f"PAYMENTS_GATEWAYS_FILE {settings.gateways_file}: {error}") from error
    for name, variable in SIMULATOR_SECRETS.items():
        if name in secrets and not environ.get(variable):
            environ[variable] = secrets[name][0]  # the newest, like a provider after a change of secrets
    _require_free(settings.bind, "PAYMENTS_BIND")
    _require_free(provider, "SIMULATOR_BIND")
    service_stops_within_s = settings.request_deadline_s + _SERVICE_STOPS_WITHIN_S
    manage = [sys.executable, str(CHECKOUT / "manage.py")]
    # An idle connection of a browser delays Ctrl-C for as long as it is kept.
    gunicorn = [sys.executable, "-m", "gunicorn", "--keep-alive", "2", "wsgi:app"]
    children = Children(CHECKOUT, environ, say)
    try:
        children.run("migrate", [*manage, "migrate"], _STOPS_WITHIN_S)
        children.start("the simulator", [*manage, "simulator"], _STOPS_WITHIN_S)
        children.wait_until("the simulator", lambda: _answers(provider, "/calls"), _READY_WITHIN_S)
        children.start("the service", gunicorn, service_stops_within_s)
        children.wait_until("the service", lambda: _answers(settings.bind, "/readyz"), _READY_WITHIN_S)
        say(_what_to_try(settings, provider, environ))
        children.wait_for_end()
    except StopAskedError:
        return 0
    except ChildError as error:
        raise CommandError(str(error)) from error
    finally:
        children.stop()
    return 0


def _require_free(address: BindAddress, setting: str) -> None:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        message = f"cannot listen on {address}: {error.strerror}; stop the program that does, or change {setting}"
        raise CommandError(message) from error


def _answers(address: BindAddress, path: str) -> bool:
    target = address.callable_here
    connection = http.client.HTTPConnection(target.host, target.port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _what_to_try(settings: Settings, provider: BindAddress, environ: Mapping[str, str]) -> str:
    here = settings.bind.callable_here
    service = f"http://localhost:{here.port}" if here.is_loopback else f"http://{here}"
    key = '-H "Authorization: Bearer $KEY" ' if settings.auth_required else ""
    ledger = CHECKOUT / (environ.get("SIMULATOR_LEDGER") or "var/ledger.jsonl")
    text = f"""
  service     {service}
  its API     {service}/swagger/index.html
  simulator   http://{provider.callable_here}/ledger (effects at the providers)
  data        {settings.sqlite_path or without_password(settings.database_url)}
              {ledger}

  try         curl {key}-X POST "{service}/v1/deposit" -H "Content-Type: application/json" \
-d '{{"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}}'
  then        curl {key}"{service}/v1/customers/12345"
              curl {key}"{service}/v1/customers/12345/events"

  Ctrl-C ends all of it.
"""
    if key:
        text += """
  Clients need an API key here; with the same settings as this command:
              KEY=$(.venv/bin/python manage.py keys create --merchant main \\
                --scope payments:write,payments:read,operations)
"""
    urls = [f"{table.get('url')}/" for table in gateways_file.read(settings.gateways_file).values()]
    if not any(f"//{provider}/" in url for url in urls):
        at = f"http://{provider}"
        text += f"""
  Note: no gateway of {settings.gateways_file} has a URL at the simulator ({at}), so no
  transaction completes here. Change the URLs of a copy to {at}/gatewayA and so on, and name the copy in
  PAYMENTS_GATEWAYS_FILE.
"""
    return text

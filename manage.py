#!/usr/bin/env python
"""The commands of an operator: their names, their exit statuses, and what ``dev`` tells a newcomer.

The work itself is done by the rooms, which a command imports when it needs them. Exit status 0: done; 1: it failed,
or ``verify`` found something; 2: a setting or an argument is wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

CHECKOUT: Final = Path(__file__).resolve().parent
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))

from config import gateways_file, logging
from config.processes import ChildError, Children, StopAskedError
from config.settings import Settings, SettingsError
from config.values import Address, parse_address

_READY_WITHIN_S: Final = 60.0
_STOPS_WITHIN_S: Final = 5.0
# Beyond the longest request: gunicorn's own graceful_timeout (gunicorn.conf.py), which kills its workers, and a bit.
_SERVICE_STOPS_WITHIN_S: Final = 40.0


class CommandError(Exception):
    """A command cannot go on; the text is one line for the operator."""


class Arguments(argparse.Namespace):
    """What stands on the command line."""

    command: str
    heads: Path | None
    export_heads: Path | None


def migrate(_arguments: Arguments) -> int:
    """Create the database's tables, or bring them to this version."""
    from store.errors import StoreError
    from store.factory import migrate as migrate_store

    settings = _settings(logging.STDERR)
    try:
        applied = migrate_store(settings.migration_database_url, root=CHECKOUT)
    except StoreError as error:
        raise CommandError(str(error)) from error
    _say(f"migrations applied: {', '.join(map(str, applied)) or 'none, all were there'}")
    if settings.sqlite_path is None and settings.migration_database_url == settings.database_url:
        _say(
            "warning: the service's role owns the tables, and so may change and delete events; a role with the least"
            " rights may not (PAYMENTS_MIGRATION_DATABASE_URL, store/postgresql/rights.sql)"
        )
    return 0


def verify(arguments: Arguments) -> int:
    """Check the stored events and what is derived from them; may run beside the service. 1: something is wrong."""
    from store.errors import StoreError
    from store.factory import open_audit
    from store.verify import Tally, export_heads
    from store.verify import verify as verify_store

    settings = _settings(logging.STDERR)
    tally, problems = Tally(), 0
    try:
        heads = arguments.heads.read_text().splitlines() if arguments.heads else []
        with open_audit(settings.database_url, root=CHECKOUT) as audit:
            for problem in verify_store(audit, heads, tally):
                problems += 1
                stream = "/".join(problem.stream) if problem.stream else "-"
                _say(f"{stream} version {problem.version or '-'}: {problem.text}")
            if arguments.export_heads and not problems:
                arguments.export_heads.write_text("".join(f"{line}\n" for line in export_heads(audit)))
    except (StoreError, OSError, UnicodeDecodeError) as error:
        raise CommandError(str(error)) from error
    _say(f"{tally.streams} streams, {tally.events} events, {tally.heads} earlier heads, {problems} problems")
    return 1 if problems else 0


def keys(arguments: Arguments) -> int:
    """Make, list and revoke the API keys of callers; may run beside the service."""
    from cli import keys as command
    from store.errors import StoreError

    try:
        return command.run(cast("command.Arguments", arguments))
    except StoreError as error:
        raise CommandError(str(error)) from error


def simulator(_arguments: Arguments) -> int:
    """Run the simulated payment providers."""
    from gateways.simulator import run

    _settings(logging.STDOUT)
    os.chdir(CHECKOUT)  # its ledger lies there, whatever folder it is started from
    run(os.environ)
    return 0


def dev(_arguments: Arguments) -> int:
    """Run everything on this machine, until Ctrl-C: migrations, simulated providers and service."""
    from domain.money import MoneyError, exponent_of
    from gateways.development import SIMULATOR_SECRETS
    from gateways.registry import callback_secrets, read_settings
    from gateways.settings import GatewaySettingsError

    environ = {"PAYMENTS_LOG_FORMAT": "console", **os.environ}
    settings = Settings.from_environ(environ)
    provider = parse_address("SIMULATOR_BIND", environ.get("SIMULATOR_BIND") or "127.0.0.1:8090")
    environ.setdefault("SIMULATOR_CALLBACK_URL", f"http://{settings.bind.callable_here}/v1/callbacks")
    try:
        # The service would say the same, amid the lines of three processes.
        exponent_of(settings.default_currency)
        gateways = read_settings(gateways_file.read(settings.gateways_file))
        secrets = callback_secrets(gateways, environ, loopback=settings.bind.is_loopback)
    except MoneyError as error:
        raise SettingsError(f"PAYMENTS_DEFAULT_CURRENCY: {error}") from error
    except GatewaySettingsError as error:
        raise SettingsError(f"PAYMENTS_GATEWAYS_FILE {settings.gateways_file}: {error}") from error
    for name, variable in SIMULATOR_SECRETS.items():
        if name in secrets and not environ.get(variable):
            environ[variable] = secrets[name][0]  # the newest, as a provider signs after a change of secrets
    _require_free(settings.bind, "PAYMENTS_BIND")
    _require_free(provider, "SIMULATOR_BIND")
    service_stops_within_s = settings.request_deadline_s + _SERVICE_STOPS_WITHIN_S
    manage = [sys.executable, str(CHECKOUT / "manage.py")]
    # A browser's idle connection would hold up Ctrl-C for as long as it is kept.
    gunicorn = [sys.executable, "-m", "gunicorn", "--keep-alive", "2", "wsgi:app"]
    children = Children(CHECKOUT, environ, _say)
    try:
        children.run("migrate", [*manage, "migrate"], _STOPS_WITHIN_S)
        children.start("the simulator", [*manage, "simulator"], _STOPS_WITHIN_S)
        children.wait_until("the simulator", lambda: _answers(provider, "/calls"), _READY_WITHIN_S)
        children.start("the service", gunicorn, service_stops_within_s)
        children.wait_until("the service", lambda: _answers(settings.bind, "/readyz"), _READY_WITHIN_S)
        _say(_what_to_try(settings, provider, environ))
        children.wait_for_end()
    except StopAskedError:
        return 0
    except ChildError as error:
        raise CommandError(str(error)) from error
    finally:
        children.stop()
    return 0


def _require_free(address: Address, setting: str) -> None:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        message = f"cannot listen on {address}: {error.strerror}; end what does, or set {setting} to another address"
        raise CommandError(message) from error


def _answers(address: Address, path: str) -> bool:
    # Here and not above: it brings ssl, which the simulator's process must not have before gevent patches it.
    import http.client

    target = address.callable_here
    connection = http.client.HTTPConnection(target.host, target.port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _what_to_try(settings: Settings, provider: Address, environ: Mapping[str, str]) -> str:
    here = settings.bind.callable_here
    service = f"http://localhost:{here.port}" if here.is_loopback else f"http://{here}"
    key = '-H "Authorization: Bearer $KEY" ' if settings.auth_required else ""
    ledger = CHECKOUT / (environ.get("SIMULATOR_LEDGER") or "var/ledger.jsonl")
    text = f"""
  service     {service}
  its API     {service}/swagger/index.html
  simulator   http://{provider.callable_here}/ledger (what the providers did)
  data        {settings.sqlite_path or _without_password(settings.database_url)}
              {ledger}

  try         curl {key}-X POST "{service}/v1/deposit" -H "Content-Type: application/json" \
-d '{{"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}}'
  then        curl {key}"{service}/v1/customers/12345"
              curl {key}"{service}/v1/customers/12345/events"

  Ctrl-C ends all of it.
"""
    if key:
        text += """
  Callers need an API key, since the service is not on loopback:
              KEY=$(.venv/bin/python manage.py keys create --merchant main --scope payments:write,payments:read,operations)
"""
    urls = [f"{table.get('url')}/" for table in gateways_file.read(settings.gateways_file).values()]
    if not any(f"//{provider}/" in url for url in urls):
        text += f"\n  Note: no gateway of {settings.gateways_file} has a URL at the simulator (http://{provider}).\n"
    return text


def _without_password(url: str) -> str:
    # Parameters are left out, too: libpq takes a password among them.
    scheme, _, rest = url.partition("://")
    authority, slash, database = rest.partition("/")
    credentials, at, hosts = authority.rpartition("@")
    user, hosts, database = re.split("[:?]", credentials)[0], hosts.partition("?")[0], database.partition("?")[0]
    return f"{scheme}://{user}{at}{hosts}{slash}{database}"


def _settings(log_to: int) -> Settings:
    settings = Settings.from_environ(os.environ)
    logging.configure(settings.log_level, settings.log_format, log_to)
    return settings


def _say(text: str) -> None:
    # A reader that went away must not keep dev from ending what it started.
    with suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


_COMMANDS: Final = {command.__name__: command for command in (dev, keys, migrate, simulator, verify)}


def main(command_line: list[str]) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="manage.py", description="Commands of the payment gateway service.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {
        name: subparsers.add_parser(name, help=command.__doc__, description=command.__doc__)
        for name, command in _COMMANDS.items()
    }
    parsers["verify"].add_argument(
        "--heads", type=Path, metavar="FILE", help="heads exported earlier: a cut tail shows"
    )
    parsers["verify"].add_argument("--export-heads", type=Path, metavar="FILE", help="write all heads when all is well")
    from cli import keys as keys_command

    keys_command.add_arguments(parsers["keys"])
    arguments = parser.parse_args(command_line, Arguments())
    try:
        return _COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except CommandError as error:
        sys.stderr.write(f"manage.py {arguments.command}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

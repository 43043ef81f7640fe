"""The gunicorn options that an operator may set, and the errors for the others.

The service depends on the others: the worker class, loading the application after the fork, one process for an
embedded database, the log. The values of gunicorn.conf.py are arguments here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config

from config.values import SettingsError

FREE: Final = frozenset(
    {
        "backlog",
        "ca_certs",
        "cert_reqs",
        "certfile",
        "check_config",
        "ciphers",
        "config",
        "default_proc_name",
        "enable_backlog_metric",
        "forwarded_allow_ips",
        "graceful_timeout",
        "keepalive",
        "keyfile",
        "limit_request_field_size",
        "limit_request_fields",
        "limit_request_line",
        "pidfile",
        "print_config",
        "proc_name",
        "pythonpath",
        "raw_env",
        "reuse_port",
        "sendfile",
        "timeout",
        "umask",
        "worker_connections",
        "worker_tmp_dir",
        "wsgi_app",
    }
)
"""Options that may have any value that ``_refuse_free`` accepts."""
CONNECTIONS_MIN: Final = 1000
TIMEOUT_MIN_S: Final = 5
"""Workers notify the master every second."""

_FILES: Final = frozenset({"ca_certs", "certfile", "keyfile"})

_LOG: Final = "the log goes to standard output, as set by PAYMENTS_LOG_LEVEL and PAYMENTS_LOG_FORMAT"
_PARSER: Final = "other rules would accept requests that this service refuses"
_RELOAD: Final = "an immediate reload loses calls in flight"
_REASONS: Final[Mapping[str, str]] = {
    "preload_app": "actors and connections do not survive a fork",
    "worker_class": "only the service's own worker class starts and stops it",
    "threads": "its worker uses greenlets",
    "max_requests": "a worker that restarts itself gains nothing",
    "max_requests_jitter": "a worker that restarts itself gains nothing",
    "reload": _RELOAD,
    "reload_engine": _RELOAD,
    "reload_extra_files": _RELOAD,
    "daemon": "its log would be lost; use a supervisor such as systemd",
    "chdir": "it runs in its own folder",
    "user": "start it as that user",
    "group": "start it as that group",
    "initgroups": "start it as that user",
    **dict.fromkeys(
        (
            "accesslog",
            "access_log_format",
            "capture_output",
            "errorlog",
            "logconfig",
            "logconfig_json",
            "logger_class",
            "loglevel",
            "syslog",
            "syslog_addr",
        ),
        _LOG,
    ),
    **dict.fromkeys(
        (
            "casefold_http_method",
            "forwarder_headers",
            "header_map",
            "http_parser",
            "http_protocols",
            "permit_obsolete_folding",
            "permit_unconventional_http_method",
            "permit_unconventional_http_version",
            "protocol",
            "proxy_protocol",
            "strip_header_spaces",
        ),
        _PARSER,
    ),
}
_OWN_VARIABLES: Final = ("PAYMENTS_", "PROMETHEUS_MULTIPROC_DIR", "SIMULATOR_")

in_force = False
"""Whether gunicorn.conf.py configured this process; without it the service does not start."""


def refuse_command_line(ours: Mapping[str, object]) -> None:
    """Refuse options of the command line and of GUNICORN_CMD_ARGS. Raises SettingsError.

    ``ours``: what gunicorn.conf.py sets. gunicorn itself would fail only after it acted on some options.
    """
    given = _with(ours)
    if "gunicorn.app.wsgiapp" not in sys.modules:  # the command line is not gunicorn's
        return
    parser = given.parser()
    for arguments in (given.get_cmd_args_from_env(), sys.argv[1:]):
        for name, value in vars(parser.parse_args(arguments)).items():
            if value is not None and name != "args":
                _set(given, name.lower(), value)
    refuse(given, ours)
    if given.check_config or given.print_config:  # they load the application in this very process
        globals()["in_force"] = True


def require_in_force(checkout: Path) -> None:
    """Refuse to load the service in a gunicorn that gunicorn.conf.py did not configure. Raises SystemExit."""
    if "gunicorn.app.wsgiapp" not in sys.modules or in_force:
        return
    sys.stderr.write(
        f"wsgi:app runs only with its own gunicorn.conf.py: start gunicorn in {checkout} without -c,"
        f" or with -c {checkout / 'gunicorn.conf.py'}\n"
    )
    raise SystemExit(Arbiter.APP_LOAD_ERROR)


def refuse(config: Config, ours: Mapping[str, object]) -> None:
    """Refuse a configuration that the service cannot run with. Raises SettingsError."""
    expected = _with(ours)
    for name in sorted(config.settings):
        value = config.settings[name].get()
        if name in FREE:
            _refuse_free(name, value)
        elif value != expected.settings[name].get():
            raise SettingsError(_refusal(name, value, expected.settings[name].get()))


def _set(config: Config, name: str, value: object) -> None:
    try:
        config.set(name, value)
    except Exception as error:  # the check of an option may raise any error
        raise SettingsError(f"gunicorn's option {name} cannot be {value!r}: {error}") from error


def _with(ours: Mapping[str, object]) -> Config:
    config = Config()
    for name, value in ours.items():
        if name in config.settings:
            config.set(name, value)
    return config


def _refusal(name: str, value: object, expected: object) -> str:
    if name == "bind":
        bound = ", ".join(map(str, value)) if isinstance(value, list) else value
        own = ", ".join(map(str, expected)) if isinstance(expected, list) else expected
        return f"PAYMENTS_BIND is {own}, and gunicorn was given {bound}: use the variable"
    if name == "workers":
        return f"PAYMENTS_WORKERS is {expected}, and gunicorn was given {value}: use the variable"
    reason = _REASONS.get(name, "the service depends on it")
    return f"gunicorn's option {name} cannot be changed: {reason}"


def _refuse_free(name: str, value: object) -> None:
    problem = None
    if name == "worker_connections" and isinstance(value, int) and value < CONNECTIONS_MIN:
        problem = f"must be {CONNECTIONS_MIN} or more: callbacks and reads need room beside commands"
    elif name == "timeout" and isinstance(value, int) and 0 < value < TIMEOUT_MIN_S:
        problem = f"must be {TIMEOUT_MIN_S} or more, or 0 for none: live workers would be killed"
    elif name == "raw_env" and isinstance(value, list):
        own = [text.partition("=")[0] for text in value if str(text).startswith(_OWN_VARIABLES)]
        if own:
            problem = f"cannot set {own[0]}, which is read earlier: set it in the environment"
    elif name == "pidfile" and value is not None:
        path = Path(str(value)).absolute()
        problem = f"names {path}, which is a folder" if path.is_dir() else _unless_writable(path.parent)
    elif name == "worker_tmp_dir" and value is not None:
        problem = _unless_writable(Path(str(value)))
    elif name in _FILES and value is not None:
        problem = _unless_readable(Path(str(value)))
    if problem is not None:
        message = f"gunicorn's option {name} {problem}"
        raise SettingsError(message)


def _unless_readable(path: Path) -> str | None:
    return None if path.is_file() and os.access(path, os.R_OK) else f"names {path}, which is not a readable file"


def _unless_writable(folder: Path) -> str | None:
    if not folder.is_dir():
        return f"names {folder}, which is not a folder"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"names {folder}, which cannot be written"

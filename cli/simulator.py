"""``manage.py simulator``: run the simulated payment providers."""

from __future__ import annotations

import argparse
import os

from cli.command import service_settings
from config import logging
from config.settings import CHECKOUT
from gateways.simulator import run as run_simulator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments."""
    del parser


def run(_arguments: argparse.Namespace) -> int:
    """Run the simulated payment providers."""
    settings = service_settings(logging.STDOUT, buffer=True)
    os.chdir(CHECKOUT)  # a relative path of its ledger begins there
    callbacks = os.environ.get("SIMULATOR_CALLBACK_URL") or f"http://{settings.bind.callable_here}/v1/callbacks"
    run_simulator({**os.environ, "SIMULATOR_CALLBACK_URL": callbacks})
    return 0

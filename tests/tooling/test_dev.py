"""``manage.py dev`` with stub packages: everything starts in order, and no process is left after any kind of end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tooling.checkout import CHECKOUT, PATIENCE_S, StubCheckout, end, is_free, wait_for


@pytest.fixture
def dev(stub_checkout: StubCheckout) -> Iterator[subprocess.Popen[bytes]]:
    """A running ``manage.py dev`` that has printed its instructions."""
    process = stub_checkout.manage("dev")
    try:
        wait_for(
            lambda: process.poll() is not None or "Ctrl-C ends all of it" in stub_checkout.read("stdout"),
            "dev has printed its instructions",
        )
        yield process
    finally:
        end(process)


def nothing_is_left(stub_checkout: StubCheckout) -> bool:
    """Whether both service and simulator have stopped listening."""
    return is_free(stub_checkout.port) and is_free(stub_checkout.simulator_port)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_in_order(stub_checkout: StubCheckout, dev: subprocess.Popen[bytes], signum: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal stop the service first, then the simulator, with exit status 0."""
    dev.send_signal(signum)
    assert dev.wait(PATIENCE_S) == 0
    assert nothing_is_left(stub_checkout)
    assert stub_checkout.notes == [
        "migrated",
        f"callbacks to http://127.0.0.1:{stub_checkout.port}/v1/callbacks",
        "service started",
        "service drains",
        "service stopped",
        "simulator stopped",
    ]
    assert stub_checkout.read("stderr") == ""


@pytest.mark.parametrize(
    ("environ", "signs_with"),
    [
        ({"PAYMENTS_GATEWAY_A_SECRETS": "newest,older"}, ["SIMULATOR_GATEWAY_A_SECRET=newest"]),
        (
            {"PAYMENTS_GATEWAY_A_SECRETS": "newest,older", "SIMULATOR_GATEWAY_A_SECRET": "older"},
            ["SIMULATOR_GATEWAY_A_SECRET=older"],
        ),
        (
            {"PAYMENTS_GATEWAY_A_SECRETS": "newest,older", "SIMULATOR_GATEWAY_A_SECRET": ""},
            ["SIMULATOR_GATEWAY_A_SECRET=newest"],
        ),
        ({"PAYMENTS_GATEWAY_B_SECRETS": "of_another"}, []),
    ],
    ids=["several", "its own", "empty", "none"],
)
def test_the_simulator_signs_with_a_secret_of_the_service(
    stub_checkout: StubCheckout, environ: dict[str, str], signs_with: list[str]
) -> None:
    """The simulator gets the service's newest secret, unless its own is set, so that its callbacks are verified."""
    process = stub_checkout.manage("dev", **environ)
    last = f"callbacks to http://127.0.0.1:{stub_checkout.port}/v1/callbacks"
    try:
        wait_for(lambda: last in stub_checkout.notes or process.poll() is not None, "the simulator starts")
        assert stub_checkout.notes == ["migrated", *signs_with, last]
    finally:
        end(process)


def test_missing_secrets(stub_checkout: StubCheckout) -> None:
    """On a public address, a missing secret is reported in one line before any process starts."""
    elsewhere = {"PAYMENTS_BIND": f"0.0.0.0:{stub_checkout.port}", "PAYMENTS_AUTH": "off"}
    assert stub_checkout.manage("dev", **elsewhere).wait(PATIENCE_S) == 2
    path = stub_checkout.folder / "config/gateways.toml"
    assert stub_checkout.read("stderr") == f"PAYMENTS_GATEWAYS_FILE {path}: no secrets\n"
    assert stub_checkout.notes == []


def test_dev_prints_what_to_try(stub_checkout: StubCheckout, dev: subprocess.Popen[bytes]) -> None:
    """The terminal shows addresses, the data's location, a deposit to copy, and gateways not at the simulator."""
    assert dev.poll() is None
    text = stub_checkout.read("stdout")
    service = f"http://localhost:{stub_checkout.port}"
    deposit = '{"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}'
    for words in (
        f"{service}/swagger/index.html",
        f"http://127.0.0.1:{stub_checkout.simulator_port}/ledger",
        str(stub_checkout.folder / "var/payments.db"),
        f"""curl -X POST "{service}/v1/deposit" -H "Content-Type: application/json" -d '{deposit}'""",
        "no gateway of",
        f"Change the URLs of a copy to http://127.0.0.1:{stub_checkout.simulator_port}/gatewayA and so on",
    ):
        assert words in text


def test_the_simulator_alone_calls_back_where_the_service_is(stub_checkout: StubCheckout) -> None:
    """When started separately, simulator and service read the service's address from the same setting."""
    process = stub_checkout.manage("simulator")
    try:
        wait_for(lambda: process.poll() is not None or bool(stub_checkout.notes), "it runs")
        assert stub_checkout.notes == [f"callbacks to http://127.0.0.1:{stub_checkout.port}/v1/callbacks"]
    finally:
        end(process)


def test_a_child_that_dies_ends_the_others(stub_checkout: StubCheckout, dev: subprocess.Popen[bytes]) -> None:
    """When the simulator ends, dev reports it, stops the service and ends with exit status 1."""
    children = Path(f"/proc/{dev.pid}/task/{dev.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc with the children of a process")
    simulator, _service = map(int, children.read_text().split())
    os.kill(simulator, signal.SIGKILL)
    assert dev.wait(PATIENCE_S) == 1
    assert nothing_is_left(stub_checkout)
    assert "the simulator ended by itself, killed by SIGKILL" in stub_checkout.read("stderr")
    assert stub_checkout.notes[-1] == "service stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals children when their parent dies")
def test_nothing_outlives_a_killed_dev(stub_checkout: StubCheckout, dev: subprocess.Popen[bytes]) -> None:
    """When dev itself is killed, service and simulator end as well."""
    dev.kill()
    dev.wait(PATIENCE_S)
    wait_for(lambda: nothing_is_left(stub_checkout), "service and simulator are gone")
    wait_for(lambda: "service stopped" in stub_checkout.notes, "the service stopped in order")


@pytest.mark.parametrize("setting", ["PAYMENTS_BIND", "SIMULATOR_BIND"])
def test_a_port_that_is_taken(stub_checkout: StubCheckout, setting: str) -> None:
    """A port in use is reported in one line with port and setting before any process starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert stub_checkout.manage("dev", **{setting: address}).wait(PATIENCE_S) == 1
    assert stub_checkout.read("stderr") == (
        f"manage.py dev: cannot listen on {address}: Address already in use; "
        f"stop the program that does, or change {setting}\n"
    )
    assert stub_checkout.notes == []


@pytest.mark.parametrize("command", ["dev", "migrate", "simulator", "verify"])
def test_wrong_settings(stub_checkout: StubCheckout, command: str) -> None:
    """Every command refuses a wrong setting with one line and exit status 2."""
    (stub_checkout.folder / "store/verify.py").write_text("Tally = export_heads = verify = None\n")
    assert stub_checkout.manage(command, PAYMENTS_ROLE="boss").wait(PATIENCE_S) == 2
    assert stub_checkout.read("stderr") == "PAYMENTS_ROLE must be one of all, api, processor, relay, not 'boss'\n"


def test_a_wrong_gateways_file(stub_checkout: StubCheckout) -> None:
    """An error in the gateways file is reported in one line before any process starts."""
    path = stub_checkout.folder / "gateways.toml"
    path.write_text("[bad]\n")
    assert stub_checkout.manage("dev", PAYMENTS_GATEWAYS_FILE=str(path)).wait(PATIENCE_S) == 2
    assert stub_checkout.read("stderr") == f"PAYMENTS_GATEWAYS_FILE {path}: gateway 'bad': no\n"
    assert stub_checkout.notes == []


def test_a_failing_migration_stops_the_start(stub_checkout: StubCheckout) -> None:
    """If the migration fails, no other process starts."""
    (stub_checkout.folder / "store/backends.py").write_text(
        "from store.errors import StoreError\n\n\ndef backend_of(url, *, root):\n    raise StoreError('newer tables')\n"
    )
    assert stub_checkout.manage("dev").wait(PATIENCE_S) == 1
    assert stub_checkout.read("stderr").splitlines() == [
        "manage.py migrate: newer tables",
        "manage.py dev: migrate ended with exit status 1",
    ]


@pytest.mark.parametrize("command", ["dev", "migrate", "simulator", "verify"])
def test_help(command: str) -> None:
    """Every command prints its help without importing its package."""
    manage = [sys.executable, str(CHECKOUT / "manage.py"), command, "--help"]
    done = subprocess.run(manage, cwd="/", capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.startswith(f"usage: manage.py {command}")

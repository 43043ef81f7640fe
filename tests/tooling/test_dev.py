"""``manage.py dev`` with stubs for the rooms: everything starts in order, and whatever ends it, nothing is left."""

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
    """A running ``manage.py dev`` that has printed what to try."""
    process = stub_checkout.manage("dev")
    try:
        wait_for(
            lambda: process.poll() is not None or "Ctrl-C ends all of it" in stub_checkout.read("stdout"),
            "dev says what to try",
        )
        yield process
    finally:
        end(process)


def nothing_is_left(stub_checkout: StubCheckout) -> bool:
    """Whether neither service nor simulator listens any more."""
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
    """The service's newest one is handed on, unless the simulator's is set: then its callbacks are verified."""
    process = stub_checkout.manage("dev", **environ)
    last = f"callbacks to http://127.0.0.1:{stub_checkout.port}/v1/callbacks"
    try:
        wait_for(lambda: last in stub_checkout.notes or process.poll() is not None, "the simulator starts")
        assert stub_checkout.notes == ["migrated", *signs_with, last]
    finally:
        end(process)


def test_secrets_that_are_missing(stub_checkout: StubCheckout) -> None:
    """Where not only this machine could call back, what is missing is one line, before anything is started."""
    elsewhere = {"PAYMENTS_BIND": f"0.0.0.0:{stub_checkout.port}", "PAYMENTS_AUTH": "off"}
    assert stub_checkout.manage("dev", **elsewhere).wait(PATIENCE_S) == 2
    path = stub_checkout.folder / "config/gateways.toml"
    assert stub_checkout.read("stderr") == f"PAYMENTS_GATEWAYS_FILE {path}: no secrets\n"
    assert stub_checkout.notes == []


def test_it_says_what_to_try(stub_checkout: StubCheckout, dev: subprocess.Popen[bytes]) -> None:
    """The terminal shows what runs where, where the data lie, a deposit to copy, and where calls would not arrive."""
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
    """Started by hand, both take the address of the service from one setting."""
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
        pytest.skip("needs a /proc that tells a process's children")
    simulator, _service = map(int, children.read_text().split())
    os.kill(simulator, signal.SIGKILL)
    assert dev.wait(PATIENCE_S) == 1
    assert nothing_is_left(stub_checkout)
    assert "the simulator ended by itself, killed by SIGKILL" in stub_checkout.read("stderr")
    assert stub_checkout.notes[-1] == "service stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_nothing_outlives_a_killed_dev(stub_checkout: StubCheckout, dev: subprocess.Popen[bytes]) -> None:
    """Also when dev itself is killed, service and simulator end."""
    dev.kill()
    dev.wait(PATIENCE_S)
    wait_for(lambda: nothing_is_left(stub_checkout), "service and simulator are gone")
    wait_for(lambda: "service stopped" in stub_checkout.notes, "the service stopped in order")


@pytest.mark.parametrize("setting", ["PAYMENTS_BIND", "SIMULATOR_BIND"])
def test_a_port_that_is_taken(stub_checkout: StubCheckout, setting: str) -> None:
    """A taken port is one line that names port and setting, before anything is started."""
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
    assert stub_checkout.read("stderr") == "PAYMENTS_ROLE must be one of all, api, processor, not 'boss'\n"


def test_a_wrong_gateways_file(stub_checkout: StubCheckout) -> None:
    """What is wrong in the gateways file is one line, before anything is started."""
    path = stub_checkout.folder / "gateways.toml"
    path.write_text("[bad]\n")
    assert stub_checkout.manage("dev", PAYMENTS_GATEWAYS_FILE=str(path)).wait(PATIENCE_S) == 2
    assert stub_checkout.read("stderr") == f"PAYMENTS_GATEWAYS_FILE {path}: gateway 'bad': no\n"
    assert stub_checkout.notes == []


def test_a_failing_migration_stops_the_start(stub_checkout: StubCheckout) -> None:
    """Without tables nothing is started."""
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
    """Every command explains itself, without its room being imported."""
    manage = [sys.executable, str(CHECKOUT / "manage.py"), command, "--help"]
    done = subprocess.run(manage, cwd="/", capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.startswith(f"usage: manage.py {command}")

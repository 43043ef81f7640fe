"""``manage.py dev``, which ``make run`` starts: a new user's first deposit completes, and Ctrl-C ends everything."""

from __future__ import annotations

import http.client
import json
import shlex
import signal
import socket
import sys
from urllib.parse import urlsplit

import pytest

from tests.processes.installation import HOST, Installation
from tests.processes.process import Process, wait_until


def started(installation: Installation) -> Process:
    """A running dev that has printed its instructions."""
    dev = installation.manage("dev")

    def has_printed_instructions() -> bool:
        assert not dev.ended, f"dev ended with {dev.wait()}"
        return "Ctrl-C ends all of it" in dev.out

    wait_until(has_printed_instructions, "dev has printed its instructions")
    return dev


def copied_deposit(dev: Process) -> tuple[str, dict[str, str], str]:
    """URL, headers and body of the command that dev prints, parsed as a shell and curl parse it."""
    line = next(line for line in dev.out.splitlines() if "curl -X POST" in line)
    words = shlex.split(line)
    assert [words[0], *words[1:4], words[5], words[7]] == ["try", "curl", "-X", "POST", "-H", "-d"]
    name, _, value = words[6].partition(": ")
    return words[4], {name: value}, words[8]


def test_a_newcomers_first_deposit(installation: Installation) -> None:
    """The printed command gets 202, the deposit completes, and every printed address works."""
    dev = started(installation)
    url, headers, body = copied_deposit(dev)
    assert url == f"http://localhost:{installation.port}/v1/deposit"
    assert json.loads(body) == {"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("POST", urlsplit(url).path, body, headers)
    response = connection.getresponse()
    deposit = json.load(response)
    connection.close()
    assert (response.status, deposit["status"], deposit["amount"]) == (202, "pending", "100.00")

    path = f"/v1/transactions/{deposit['transaction_id']}"
    wait_until(lambda: installation.get(path).body["status"] == "completed", "the deposit is completed")
    customer = installation.get("/v1/customers/12345").body
    assert customer["balances"] == [{"currency": "USD", "available": "100.00", "reserved": "0.00"}]
    events = installation.get("/v1/customers/12345/events").body["items"]
    assert [event["type"] for event in events] == ["DepositReceived", "DepositProcessed", "DepositCompleted"]
    assert [line["reference"] for line in installation.books().effects] == [deposit["transaction_id"]]
    assert installation.get("/swagger/index.html").status == 200
    assert str(installation.folder / "payments.db") in dev.out
    assert str(installation.folder / "ledger.jsonl") in dev.out

    dev.send(signal.SIGINT)
    assert dev.wait() == 0
    assert installation.living() == []
    assert dev.err == ""


@pytest.mark.parametrize(
    ("signum", "to_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["ctrl-c", "sigterm"]
)
def test_dev_ends_all_processes_that_it_started(
    installation: Installation, signum: signal.Signals, *, to_group: bool
) -> None:
    """Ctrl-C (sent to the whole group) and SIGTERM end dev with status 0, and all its processes."""
    dev = started(installation)
    (dev.send_to_group if to_group else dev.send)(signum)
    assert dev.wait() == 0
    assert installation.living() == []
    assert "Traceback" not in dev.out + dev.err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals children when their parent dies")
def test_nothing_outlives_a_killed_dev(installation: Installation) -> None:
    """When dev itself is killed, service and simulator end soon after."""
    dev = started(installation)
    dev.send(signal.SIGKILL)
    dev.wait()
    wait_until(lambda: installation.living() == [], "service and simulator have ended")


@pytest.mark.parametrize("setting", ["PAYMENTS_BIND", "SIMULATOR_BIND"])
def test_a_port_that_is_taken(installation: Installation, setting: str) -> None:
    """A port in use is reported in one line with port and setting, and no process starts."""
    with socket.create_server((HOST, 0)) as taken:
        address = f"{HOST}:{taken.getsockname()[1]}"
        dev = installation.manage("dev", **{setting: address})
        assert dev.wait() == 1
    (line,) = dev.err.splitlines()
    assert address in line
    assert setting in line
    assert dev.out == ""
    assert not (installation.folder / "payments.db").exists()

"""The commands against a real service: the operations routes, for operators and for scripts."""

from __future__ import annotations

import json
import time

from gateways.development import CALLBACK_SECRET
from tests.cli.conftest import Shell
from tests.gateways.callback_signers import SIGNER_B
from tests.processes.commands import send
from tests.processes.installation import Installation
from tests.processes.process import wait_until

WHY = ("--reason", "asked the provider", "--evidence", "ticket 4711")


def test_transactions(shell: Shell, service: Installation) -> None:
    """A list and one transaction are JSON as in the API for scripts, and text for operators."""
    listed = shell.json("transactions", "list")
    assert listed == service.get("/v1/transactions").body["items"]
    one = listed[0]
    assert shell.json("transactions", "list", "--gateway", one["gateway"], "--type", "deposit")[0] == one
    assert shell.json("transactions", "list", "--customer", "absent") == []
    assert shell.json("transactions", "show", one["transaction_id"]) == [one]
    heading, *lines = shell("transactions", "list").splitlines()
    assert heading.split()[:3] == ["TRANSACTION", "TYPE", "STATUS"]
    assert [line.split()[0] for line in lines] == [it["transaction_id"] for it in listed]
    shown = shell("transactions", "show", one["transaction_id"])
    assert f"amount:                    {one['amount']} USD\n" in shown
    assert "attention:                 parked\n" in shown


def test_dead_letters(shell: Shell, service: Installation) -> None:
    """Dead letters are listed, shown with their errors, retried one by one or together, and discarded."""
    letters = shell.json("dead-letters", "list", "--state", "parked")
    assert {letter["gateway"] for letter in letters} == {"gatewayA", "gatewayB"}
    one = shell.json("dead-letters", "list", "--gateway", "gatewayB")[0]
    assert one["id"] in shell("dead-letters", "list")
    shown = shell("dead-letters", "show", one["id"])
    assert "not sent" in shown
    assert shown.count("\nerror ") == len(one["errors"])

    def attempts() -> int:
        found = service.get(f"/v1/dead-letters/{one['id']}")  # 404 while the attempt is in progress
        return int(found.body["attempts"]) if found.status == 200 and found.body["state"] == "parked" else 0

    assert shell("dead-letters", "retry", one["id"]) == f"tried again: {one['id']}\n"
    wait_until(lambda: attempts() > one["attempts"], "the dead letter is retried")
    assert shell.json("dead-letters", "retry-all", "--gateway", "gatewayB", "--state", "parked") == [{"count": 1}]
    wait_until(lambda: attempts() > one["attempts"] + 1, "the dead letter is parked again")
    (failed,) = shell.json("dead-letters", "discard", one["id"], "--reason", "paid in cash")
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "discarded")
    shell("dead-letters", "discard", one["id"], "--reason", "again", status=1)
    assert shell.err == "manage.py dead-letters: 404 No such dead letter.\n"


def test_a_resolution_uses_the_version_that_was_read(shell: Shell, service: Installation) -> None:
    """Without ``--version`` the command uses the version that it has just read, and prints it.

    An older version is refused.
    """
    (pending,) = shell.json("transactions", "list", "--gateway", "gatewayA", "--status", "pending")
    resolve = ("transactions", "resolve", pending["transaction_id"], "completed", *WHY)
    shell(*resolve, "--version", str(pending["version"] + 7), status=1)
    assert "409" in shell.err
    shown = shell(*resolve)
    assert shell.err == f"is pending, version {pending['version']} now\n"
    assert "status:                    completed\n" in shown
    shell(*resolve, status=1)
    assert shell.err.startswith("is completed, version ")
    assert service.get(f"/v1/transactions/{pending['transaction_id']}").body["status"] == "completed"

    assert "USD:          100.00 available, 0.00 reserved\n" in shell("customers", "show", "gatewayA")
    (less,) = shell.json("customers", "adjust", "gatewayA", "-0.50", "USD", *WHY, "--idempotency-key", "k1")
    assert shell.json("customers", "adjust", "gatewayA", "-0.50", "USD", *WHY, "--idempotency-key", "k1") == [less]
    assert less["balances"] == [{"currency": "USD", "available": "99.50", "reserved": "0.00"}]
    shell("customers", "adjust", "gatewayA", "-100", "USD", *WHY, status=1)
    key, refusal = shell.err.splitlines()
    assert key.startswith("idempotency key: ")
    assert refusal.startswith("manage.py customers: 422 ")


def test_breaker(shell: Shell) -> None:
    """Without an action all breakers are shown. A forced mode stays and is shown."""
    assert [line.split()[:3] for line in shell("breaker").splitlines()[1:]] == [
        ["gatewayA", "closed", "auto"],
        ["gatewayB", "closed", "auto"],
    ]
    for mode, state in (("open", "open"), ("closed", "closed"), ("auto", "closed")):
        (gateway,) = shell.json("breaker", mode, "gatewayA", "--reason", "maintenance")
        assert (gateway["breaker"]["mode"], gateway["breaker"]["state"]) == (mode, state)
        assert shell.json("breaker", "show", "gatewayA")[0]["breaker"]["mode"] == mode
    shell("breaker", "show", "gatewayC", status=1)


def test_options_of_the_default_action_apply_to_other_actions(shell: Shell, service: Installation) -> None:
    """The options of the default action may precede another action, and still apply."""
    gateways = service.get("/v1/gateways").body["items"]
    assert [it["name"] for it in shell.json("breaker")] == [it["name"] for it in gateways]
    assert json.loads(shell("breaker", "--json", "show", "gatewayA"))["name"] == "gatewayA"
    shell("breaker", "--timeout", "20", "--url", f"http://127.0.0.1:{service.port}")


def test_reviews(shell: Shell, service: Installation) -> None:
    """A new service has no reviews. Closing an unknown review is refused."""
    assert shell("reviews", "list", "--state", "open") == ""
    assert shell.err == "none\n"
    shell("reviews", "list", "--state", "ajar", status=1)
    assert shell.err.startswith("manage.py reviews: 400 Wrong: state. state: ")
    shell("reviews", "close", "r-1", "--reason", "looked", status=1)
    shell("reviews", "show", "r-1", status=1)
    assert shell.err == "manage.py reviews: 404 No such review.\n"
    assert service.get("/v1/reviews").body["items"] == []


def call_back(service: Installation, event_id: str, **members: object) -> bytes:
    """Send a genuine callback of gatewayB, and return its body."""
    metadata = {name: members.pop(name) for name in ("reference", "amount", "currency")}
    body = json.dumps({"transaction_id": "B-7", **members, "metadata": metadata}).encode()
    headers = SIGNER_B.headers(CALLBACK_SECRET, event_id, str(int(time.time())), body)
    del headers["host"], headers["content-type"]  # of the connection itself
    answer = send(service.port, "/v1/callbacks/gatewayB", body, headers)
    assert answer is not None
    assert answer.status == 200
    return body


def test_refund_capture_and_void(shell: Shell, service: Installation) -> None:
    """Each command becomes a transaction of its own, and repeated under its key it is the same one."""
    taken, held, released = (
        service.deposit(gateway="gatewayB", customer_id="parents", capture=capture).body["transaction_id"]
        for capture in ("automatic", "manual", "manual")
    )
    for number, (transaction_id, status) in enumerate(
        ((taken, "completed"), (held, "authorized"), (released, "authorized"))
    ):
        call_back(
            service, f"evt-parent-{number}", status=status, reference=transaction_id, amount="100.00", currency="USD"
        )
        assert service.get(f"/v1/transactions/{transaction_id}").body["status"] == status
    refund = ("transactions", "refund", taken, "--amount", "40", "--reason", "Returned.", "--idempotency-key", "k1")
    (first,) = shell.json(*refund)
    assert (first["type"], first["amount"], first["reason"]) == ("refund", "40.00", "Returned.")
    assert shell.json(*refund)[0]["transaction_id"] == first["transaction_id"]
    (capture,) = shell.json("transactions", "capture", held, "--amount", "60.5")
    assert (capture["type"], capture["amount"]) == ("capture", "60.50")
    assert shell("transactions", "void", released).count(released) == 1
    shell("transactions", "void", held, status=1)
    key, refusal = shell.err.splitlines()
    assert key.startswith("idempotency key: ")
    assert refusal.startswith("manage.py transactions: 409 The capture or void ")
    shell("transactions", "refund", taken, "--amount", "60.01", status=1)
    assert "422 60.00 USD is left to refund." in shell.err
    for selection in (("--parent", taken), ("--type", "refund")):
        (found,) = shell.json("transactions", "list", *selection)
        assert found["transaction_id"] == first["transaction_id"]
    (found,) = shell.json("transactions", "list", "--parent", held, "--type", "capture")
    assert found["transaction_id"] == capture["transaction_id"]
    assert {it["transaction_id"] for it in shell.json("transactions", "list", "--status", "authorized")} == {
        held,
        released,
    }
    assert taken in shell("transactions", "list", "--gateway-reference", "B-7")
    assert "refunding_amount:          40.00\n" in shell("transactions", "show", taken)


def test_a_review_shows_the_report_and_the_record(shell: Shell, service: Installation) -> None:
    """A review is listed with its event id and shown with all of the gateway's report and the record.

    Control characters are escaped.
    """
    accepted = service.deposit(gateway="gatewayB", customer_id="reviewed").body
    transaction_id = accepted["transaction_id"]
    reported = {"reference": transaction_id, "amount": "7.50", "currency": "EUR"}
    body = call_back(service, "evt-cli-1", status="settled\x1b[2J", **reported)
    (one,) = [it for it in shell.json("reviews", "list") if it["transaction_id"] == transaction_id]
    assert shell.json("reviews", "show", one["id"]) == [one] == [service.get(f"/v1/reviews/{one['id']}").body]
    (line,) = [it for it in shell("reviews", "list").splitlines() if transaction_id in it]
    assert "evt-cli-1" in line
    assert r"settled\x1b[2J 7.50 EUR" in line
    shown = dict(it.split(":", 1) for it in shell("reviews", "show", one["id"]).splitlines())
    assert {name: value.strip() for name, value in shown.items() if name.startswith(("said", "expected"))} == {
        "said source": "callback",
        "said gateway": "gatewayB",
        "said at": f"{one['said']['at'][:10]} {one['said']['at'][11:19]}Z",
        "said event_id": "evt-cli-1",
        "said reference": transaction_id,
        "said gateway_reference": "B-7",
        "said status": r"settled\x1b[2J",
        "said code": "-",
        "said amount": "7.50",
        "said currency": "EUR",
        "said message": "-",
        "said body": body.decode(),
        "said body_bytes": str(len(body)),
        "expected gateway": "gatewayB",
        "expected status": one["expected"]["status"],
        "expected amount": accepted["amount"],
        "expected currency": accepted["currency"],
        "expected gateway_reference": "-",
    }
    shell("reviews", "close", one["id"], "--reason", "a new status of theirs")
    assert shell.json("reviews", "show", one["id"])[0]["state"] == "closed"


def test_callbacks(shell: Shell, service: Installation) -> None:
    """Callbacks that wait for their transaction are listed, for all gateways or one, and shown."""
    assert shell("callbacks", "list", "--gateway", "gatewayA") == ""
    call_back(service, "evt-cli-2", status="completed", reference="absent", amount="1.00", currency="USD")
    (one,) = shell.json("callbacks", "list", "--gateway", "gatewayB")
    assert (one["event_id"], one["reference"], one["amount"]) == ("evt-cli-2", "absent", "1.00")
    assert shell.json("callbacks", "show", one["id"])[0]["event_id"] == "evt-cli-2"
    heading, line = shell("callbacks", "list").splitlines()
    assert heading.split()[:2] == ["CALLBACK", "GATEWAY"]
    assert "evt-cli-2" in line
    assert "waits_until:        20" in shell("callbacks", "show", one["id"])
    shell("callbacks", "show", "callback:none", status=1)
    assert shell.err == "manage.py callbacks: 404 No such waiting callback.\n"


def test_rebuild_is_refused(service: Installation) -> None:
    """While the service has the store open, ``rebuild`` is refused with a line that names the service's process."""
    process = service.manage("rebuild")
    assert process.wait() == 1
    assert process.err.startswith("manage.py rebuild: process ")
    assert "payments.db: end it first" in process.err
    service.verify()

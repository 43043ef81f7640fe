"""API keys at a running service: all workers see new and revoked keys, and two merchants are separate."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from tests.processes.installation import Answer, Installation, call
from tests.processes.process import wait_until
from tests.processes.targets import SQLITE, on, on_postgresql

REQUIRED = {"PAYMENTS_AUTH": "required"}
DEPOSIT = {"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}
IN_A_ROW = 30
"""The number of consecutive refusals, each on a new connection, after which every worker has surely answered."""


def make_key(installation: Installation, merchant: str, *arguments: str) -> tuple[str, str]:
    """Create a key with the operator's command, and return its id and text."""
    scopes = "payments:write,payments:read,operations"
    process = installation.manage("keys", "create", "--json", "--merchant", merchant, "--scope", scopes, *arguments)
    assert process.wait() == 0, process.logs
    made = json.loads(process.out)
    return made["key_id"], made["key"]


def ask(installation: Installation, path: str, key: str | None, body: object = None) -> Answer:
    """GET, or POST if there is a body."""
    return call(installation.port, "GET" if body is None else "POST", path, body, key=key)


@on(SQLITE, on_postgresql(2))
def test_keys_come_and_go_beside_the_service(installation: Installation) -> None:
    """A new key works at once, beside an older one; every worker refuses the revoked key and accepts the other."""
    installation.manage("migrate").wait()
    installation.simulator()
    service = installation.service(**REQUIRED)
    assert ask(installation, "/v1/deposit", None, DEPOSIT).status == 401
    assert "no live API key" in service.out, "the log states how to create a key"

    old_id, old = make_key(installation, "acme")
    accepted = ask(installation, "/v1/deposit", old, DEPOSIT)
    assert accepted.status == 202
    _, new = make_key(installation, "acme", "--expires-in", "1h", "--label", "next")
    for _ in range(10):
        assert [ask(installation, "/v1/gateways", key).status for key in (old, new)] == [200, 200]

    assert installation.manage("keys", "revoke", old_id).wait() == 0
    wait_until(lambda: ask(installation, "/v1/gateways", old).status == 401, "the key is refused")
    wait_until(lambda: all(ask(installation, "/v1/gateways", old).status == 401 for _ in range(IN_A_ROW)), "everywhere")
    path = f"/v1/transactions/{accepted.body['transaction_id']}"
    wait_until(lambda: ask(installation, path, new).body["status"] == "completed", "the deposit is completed")

    listing = installation.manage("keys", "list", "--json")
    assert listing.wait() == 0
    assert [json.loads(line)["state"] for line in listing.out.splitlines()] == ["revoked", "live"]
    secrets = [key.split("_", 2)[2] for key in (old, new)]
    assert not any(secret in text for secret in secrets for text in (service.out, service.err, listing.out))
    who = {it["metadata"].get("who") for it in ask(installation, "/v1/events", new).body["items"]}
    assert who == {f"api-key:{old_id}", None}


@on(SQLITE, on_postgresql(1))
def test_a_key_has_the_ordered_properties(installation: Installation) -> None:
    """A key has the ordered merchant, scopes, label and expiry, and permits only what its scopes allow."""
    installation.manage("migrate").wait()
    orders = {
        "payments:write": ("--label", "shop 1", "--expires-in", "2h"),
        "payments:read,operations": ("--label", "desk", "--expires-at", "2126-01-31T01:00:00+01:00"),
        "payments:read": (),
    }
    keys = {}
    for scopes, arguments in orders.items():
        process = installation.manage("keys", "create", "--merchant", "acme", "--scope", scopes, *arguments)
        assert process.wait() == 0, process.logs
        keys[scopes] = process.out.strip()
    listing = installation.manage("keys", "list", "--json", "--merchant", "acme")
    assert listing.wait() == 0
    rows = [json.loads(line) for line in listing.out.splitlines()]
    assert [row["scopes"] for row in rows] == ["payments:write", "payments:read operations", "payments:read"]
    assert [row["label"] for row in rows] == ["shop 1", "desk", ""]
    created, expires = (datetime.fromisoformat(rows[0][name]) for name in ("created_at", "expires_at"))
    assert abs(expires - created - timedelta(hours=2)) < timedelta(minutes=1)
    assert [row["expires_at"] for row in rows[1:]] == ["2126-01-31T00:00:00.000000Z", None]
    assert [row["key_id"] for row in rows] == [key.split("_")[1] for key in keys.values()]
    others = installation.manage("keys", "list", "--merchant", "globex")
    assert (others.wait(), others.out) == (0, "")
    installation.service(**REQUIRED)
    for path, body, permitted in (
        ("/v1/deposit", DEPOSIT, {"payments:write"}),
        ("/v1/transactions", None, {"payments:read", "payments:read,operations"}),
        ("/v1/dead-letters", None, {"payments:read,operations"}),
    ):
        let_in = {scopes for scopes, key in keys.items() if ask(installation, path, key, body).status < 400}
        assert let_in == permitted


@on(SQLITE, on_postgresql(2))
def test_merchants_are_separate(installation: Installation) -> None:
    """Two merchants use the same customer id and idempotency key, and neither sees data of the other."""
    installation.manage("migrate").wait()
    installation.simulator()
    keys = {merchant: make_key(installation, merchant)[1] for merchant in ("acme", "globex")}
    service = installation.service(**REQUIRED)
    amounts = {"acme": "20.00", "globex": "30.00"}
    ids = {}
    for merchant, key in keys.items():
        answer = ask(installation, "/v1/deposit", key, DEPOSIT | {"amount": amounts[merchant]})
        ids[merchant] = answer.body["transaction_id"]

    def has_its_own(merchant: str) -> bool:
        balances = ask(installation, "/v1/customers/12345", keys[merchant]).body["balances"]
        return bool(balances == [{"currency": "USD", "available": amounts[merchant], "reserved": "0.00"}])

    wait_until(lambda: all(map(has_its_own, keys)), "both deposits are completed")
    for mine, others in (("acme", "globex"), ("globex", "acme")):
        key = keys[mine]
        theirs = ask(installation, f"/v1/transactions/{ids[others]}", key)
        absent = ask(installation, "/v1/transactions/019ab000-0000-7000-8000-000000000000", key)
        assert (theirs.status, theirs.body) == (absent.status, absent.body)
        assert theirs.status == 404
        transactions = ask(installation, "/v1/transactions", key).body["items"]
        assert [it["transaction_id"] for it in transactions] == [ids[mine]]
        events = ask(installation, "/v1/events", key).body["items"]
        assert {it["stream_name"] for it in events} == {mine}
    assert not service.ended
    installation.verify()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["create", "--merchant", "gateways", "--scope", "operations"], "--merchant"),
        (["create", "--merchant", "a b", "--scope", "operations"], "--merchant"),
        (["create", "--merchant", "acme", "--scope", "everything"], "--scope"),
        (["create", "--merchant", "acme", "--scope", "operations", "--expires-in", "soon"], "--expires-in"),
        (["create", "--merchant", "acme", "--scope", "operations", "--expires-at", "2020-01-01T00:00:00Z"], "past"),
        (["create", "--merchant", "acme", "--scope", "operations", "--label", "a\x1bb"], "--label"),
        (["revoke", "pgw_secret"], "13 characters"),
    ],
)
def test_wrong_key_arguments(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong arguments are refused with status 2 and the wrong word, before the store is opened."""
    from manage import main  # noqa: PLC0415  # manage.py of the checkout

    monkeypatch.setenv("PAYMENTS_DATABASE_URL", "sqlite:////nowhere/payments.db")
    with pytest.raises(SystemExit) as ended:
        main(["keys", *arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert "secret" not in said

"""No card number, CVV, secret or API key appears in any log, table, queue, answer or call (promise 16)."""

from __future__ import annotations

import base64
import json
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import apsw
import psycopg
import pytest
from psycopg import sql

from api.keys import read_api_key
from store.backends import backend_of
from store.keys import NewKey, Scope
from tests.gateways.callback_signers import MEMBERS, SIGNER_A, SIGNER_B, Signer
from tests.gateways.peer import Behave, Exchange, Peer, answers, sends_and_closes
from tests.processes.canaries import (
    API_KEY,
    CVV,
    PASSWORD,
    SECRETS,
    SHOWN,
    TEXT_SECRET,
    WEBHOOK_SECRET,
    leaks,
    new_card,
    spellings,
)
from tests.processes.canary_requests import CanaryRequest, requests
from tests.processes.commands import QUICK
from tests.processes.installation import CHECKOUT, HOST, Installation
from tests.processes.process import wait_until
from tests.processes.store_dump import everything
from tests.processes.targets import SQLITE, on, on_postgresql

pytestmark = pytest.mark.slow

GATEWAYS: Final[dict[str, tuple[str, Signer, str]]] = {
    "gatewayA": ("gateway_a", SIGNER_A, WEBHOOK_SECRET),
    "gatewayB": ("gateway_b", SIGNER_B, TEXT_SECRET),
}
SETTINGS: Final = {
    "PAYMENTS_LOG_LEVEL": "DEBUG",
    "PAYMENTS_REQUEST_DEADLINE_S": "1",
    "PAYMENTS_LEASE_S": "3",
    "PAYMENTS_AUTH": "required",
    "PAYMENTS_CANARY_A_SECRETS": WEBHOOK_SECRET,
    "PAYMENTS_CANARY_B_SECRETS": TEXT_SECRET,
}


class Client:
    """A client that stores all its answers byte for byte."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heard: list[bytes] = []

    def ask(self, asked: CanaryRequest) -> tuple[int, bytes]:
        """Send a request, and return the status and the body of the answer."""
        with closing(HTTPConnection(HOST, self._port, timeout=30)) as connection:
            headers = {"Authorization": f"Bearer {API_KEY}", **asked.headers}
            if asked.body:
                headers = {"content-type": "application/json", **headers}
            connection.request(asked.method, asked.path, asked.body, headers)
            response = connection.getresponse()
            body = response.read()
        self.heard += [str(response.headers).encode(), body]
        return response.status, body

    def deposit(self, gateway: str, **headers: str) -> tuple[int, bytes]:
        """Deposit 10.00 for c1."""
        body = {"amount": "10.00", "gateway": gateway, "customer_id": "c1"}
        return self.ask(CanaryRequest("POST", "/v1/deposit", json.dumps(body).encode(), headers))

    def pages(self, path: str) -> list[Any]:
        """All items of a list."""
        found: list[Any] = []
        cursor = ""
        while True:
            status, body = self.ask(CanaryRequest("GET", f"{path}?limit=200{cursor}"))
            assert status == 200
            page = json.loads(body)
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def say(self, data: bytes) -> None:
        """Send exactly these bytes."""
        with socket.create_connection((HOST, self._port), 30) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(65536):
                self.heard.append(received)


class Provider:
    """Both providers on one port. They send the prepared answers first, then success."""

    def __init__(self) -> None:
        self.left: dict[str, deque[Behave]] = {gateway: deque() for gateway in GATEWAYS}
        self.peer = Peer(self._behave)

    def _behave(self, exchange: Exchange) -> None:
        gateway = "gatewayA" if exchange.request.path.startswith("/gatewayA") else "gatewayB"
        left = self.left[gateway]
        (left.popleft() if left else said(gateway))(exchange)


def said(gateway: str, **members: str) -> Behave:
    """A valid answer with status 200, changed by ``members``."""
    all_members = {"transaction_id": "X-1", "status": "success", **members}
    if gateway == "gatewayA":
        return answers(200, json.dumps(all_members).encode())
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in all_members.items())
    return answers(200, f"<response>{inner}</response>".encode(), "application/xml")


def careless(gateway: str) -> Iterator[Behave]:
    """Answers with a card number in every possible place."""
    yield said(gateway, transaction_id=new_card())
    yield said(gateway, transaction_id=f"id-{spellings(new_card())[2]}")
    yield said(gateway, transaction_id=f"x{new_card()}y")
    yield said(gateway, status=new_card())
    yield said(gateway, message=f"card {spellings(new_card())[1]} is good")
    for code in (new_card(), "05", "do_not_honor"):
        yield said(gateway, transaction_id=new_card(), status="declined", code=code, message=new_card())
    yield said(gateway, **{f"x{new_card()}": "1"})
    yield answers(200, f"card {new_card()}".encode())
    yield answers(200, b"{}", f"text/{new_card()}")
    yield answers(500, new_card().encode(), **{f"x_{new_card()}": new_card()})
    yield answers(302, b"", Location=f"/{new_card()}")
    yield sends_and_closes(f"HTTP/1.1 200 {new_card()}\r\nno header {new_card()}\r\n\r\n".encode())
    yield sends_and_closes(f"HTTP/{new_card()}\r\n\r\n".encode())


def callbacks(gateway: str, reference: str) -> Iterator[tuple[str, bytes]]:
    """Event ids and bodies with a card number in every possible place; one is valid except for its id."""
    caller = GATEWAYS[gateway][1]
    fine = {**MEMBERS, "reference": reference, "amount": "10.00"}
    numbers = (str(number) for number in range(1000))
    for name, spelling in product(fine, range(7)):
        yield f"evt-{next(numbers)}", caller.body({**fine, name: spellings(new_card())[spelling]})
    yield f"evt-{next(numbers)}", caller.body({**fine, "gateway_reference": f"x{new_card()}y"})
    yield f"evt-{next(numbers)}", caller.body({**fine, "amount": int(new_card())})
    body = caller.body(fine)
    yield new_card(), body
    for unknown in (f'"{new_card()}"', new_card(), f'{{"{new_card()}": ["{new_card()}"]}}'):
        yield f"evt-{next(numbers)}", body.replace(b"{", b'{"unknown": ' + unknown.encode() + b", ", 1)
    for unreadable in (new_card().encode(), f'{{"cut": "{new_card()}'.encode(), b"\xff" + new_card().encode()):
        yield f"evt-{next(numbers)}", unreadable
    yield f"evt-{next(numbers)}", json.dumps({"pan": new_card()}).encode("utf-16")
    escaped = "".join(f"\\u003{digit}" for digit in new_card())
    yield f"evt-{next(numbers)}", f'{{"pan": "{escaped}"}}'.encode()
    yield "evt-0", body  # the same event id with another body


@contextmanager
def store_down(installation: Installation) -> Iterator[None]:
    """Within the block, nothing can be written to the store."""
    if installation.database_url.startswith("sqlite"):
        with closing(apsw.Connection(installation.database_url.removeprefix("sqlite:///"))) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
        return
    parts = urlsplit(installation.database_url)
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as admin:
        name = parts.path.removeprefix("/")
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))


def with_password(database_url: str) -> str:
    """The URL with a password, which the server does not require."""
    if database_url.startswith("sqlite"):
        return database_url
    parts = urlsplit(database_url)
    user, host = parts.username or "postgres", parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(PASSWORD, safe='')}@{host}"))


def configure(installation: Installation, provider: str) -> None:
    """Configure both gateways at ``provider``, each with its own secret."""
    tables = (
        f'[{name}]\nadapter = "{adapter}"\nurl = "{provider}/{name}"\n'
        f'callback_secrets_env = "PAYMENTS_CANARY_{name[-1]}_SECRETS"\n{QUICK}'
        for name, (adapter, _, _) in GATEWAYS.items()
    )
    (installation.folder / "gateways.toml").write_text("\n".join(tables))


def keep_key(installation: Installation) -> None:
    """Store the canary API key in the service, with every scope."""
    if installation.database_url.startswith("sqlite"):
        backend_of(installation.database_url, root=CHECKOUT).migrate()
    presented = read_api_key(API_KEY)
    assert presented is not None
    with backend_of(installation.database_url, root=CHECKOUT).keyring(clock=lambda: datetime.now(UTC)) as keyring:
        keyring.add(NewKey(*presented, "main", frozenset(Scope), "canary", None))


def expose_providers(installation: Installation, client: Client, provider: Provider) -> str:
    """Have the providers send all answers and callbacks with card numbers, and return the id of a transaction."""
    for gateway in GATEWAYS:
        provider.left[gateway].extend(careless(gateway))
    transaction = ""
    while any(provider.left.values()):
        for gateway, left in provider.left.items():
            if left:
                status, body = client.deposit(gateway)
                assert status == 202, body
                transaction = json.loads(body)["transaction_id"]
        time.sleep(0.02)
    for gateway, (_, caller, secret) in GATEWAYS.items():
        reference = json.loads(client.deposit(gateway)[1])["transaction_id"]
        for event_id, body in callbacks(gateway, reference):
            headers = caller.headers(secret, event_id, str(int(time.time())), body)
            asked = CanaryRequest("POST", f"/v1/callbacks/{gateway}", body, headers, refused=False)
            for _ in range(2):
                assert client.ask(asked)[0] == 200, (event_id, body)
            forged = {**headers, caller.signature_header: f"v1,{new_card()}"}
            assert client.ask(CanaryRequest("POST", asked.path, body, forged))[0] == 401
    wait_until(lambda: not pending(installation), "providers have answered")
    for path in ("/v1/reviews", "/v1/waiting-callbacks"):
        items = client.pages(path)
        assert SHOWN in json.dumps(items), "the providers' data are shown, masked"
        for item in items:
            assert client.ask(CanaryRequest("GET", f"{path}/{item['id']}"))[0] in {200, 404}
    return transaction


def pending(installation: Installation) -> list[Any]:
    """Transactions without an outcome from the provider."""
    items: list[Any] = installation.get("/v1/transactions?status=pending&customer_id=c1").body["items"]
    return items


def expose_api(installation: Installation, client: Client, transaction: str) -> None:
    """Send a canary in each place of each route; it must be refused where it would be stored."""
    review = installation.get("/v1/reviews?limit=1").body["items"][0]["id"]
    ids = {
        "transaction_id": transaction,
        "customer_id": "c1",
        "name": "gatewayA",
        "schema_file": "DepositCompleted.v1.json",
        "review_id": review,
        "dead_letter_id": transaction,
        "callback_id": client.pages("/v1/waiting-callbacks")[0]["id"],
    }
    document = installation.get("/openapi.json").body
    for asked in requests(document, ids):
        status, body = client.ask(asked)
        assert not asked.refused or status in {400, 401, 404, 409}, (asked, status, body)
        assert status < 500, (asked, status, body)
    for line in (
        f"GET /{new_card()} HTTP/9.9",
        f"{new_card()} / HTTP/1.1",
        f"GET / HTTP/1.1\r\nAuthorization Bearer {API_KEY}",
        f"GET / HTTP/1.1\r\nBad {new_card()}: x",
        f"GET / HTTP/1.1\r\nTransfer-Encoding: {new_card()}",
        f"GET / HTTP/1.1\r\nContent-Length: {new_card()}x",
        f"GET / HTTP/1.1\r\nHost: x\r\n {new_card()}",
    ):
        client.say(f"{line}\r\n\r\n".encode())


def held(installation: Installation) -> dict[str, bytes]:
    """All content on disk and in the database, by its place."""
    folder: Path = installation.folder
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".toml"}
    for table, rows in everything(installation.database_url).items():
        cells = (cell for row in rows for cell in row)
        found[table] = b"\n".join(bytes(cell) if isinstance(cell, bytes) else str(cell).encode() for cell in cells)
    return found


@on(SQLITE, on_postgresql(workers=2))
def test_canaries_appear_nowhere(installation: Installation) -> None:
    """Canaries in every field and header, from clients and providers, with the store down and up, appear nowhere."""
    provider = Provider()
    installation.database_url = with_password(installation.database_url)
    configure(installation, provider.peer.url)
    keep_key(installation)
    installation.key = API_KEY
    service = installation.service(**SETTINGS)
    client = Client(installation.port)
    transaction = expose_providers(installation, client, provider)
    expose_api(installation, client, transaction)
    with store_down(installation):
        headers = {"Authorization": f"Bearer {API_KEY}", "User-Agent": new_card(), "X-Request-ID": new_card()}
        assert client.deposit("gatewayA", **headers)[0] in {503, 504}
    wait_until(lambda: installation.get("/readyz").status == 200, "the store is back")
    service.send(signal.SIGTERM)
    service.wait()
    provider.peer.close()
    places = held(installation)
    places["answers"] = b"\n".join(client.heard)
    places["calls"] = b"\n".join(repr(request).encode() + request.body for request in provider.peer.requests)
    assert {place: found for place, data in places.items() if (found := leaks(data))} == {}
    assert SHOWN.encode() in places["transactions"], "masked references are there, so the canaries have arrived"
    for table in ("claims", "reviews", "events", "work"):
        assert SHOWN.encode() in places[table], f"masked callbacks are there as well, in {table}"


@pytest.mark.parametrize("secret", [*spellings(new_card()), *SECRETS.values(), CVV])
def test_canaries_would_be_found(secret: str) -> None:
    """The search finds each secret in plain and encoded form, in any surroundings, but not in masked form."""
    wrapped = [
        quote(secret).encode(),
        secret.encode().hex().encode(),
        secret.encode("utf-16"),
        json.dumps(secret).encode(),
    ]
    wrapped += [
        base64.b64encode(b"a" * before + secret.encode() + b"b" * behind) for before in range(3) for behind in range(3)
    ]
    assert all(leaks(b"before" + data + b"behind") for data in (secret.encode(), *wrapped))
    assert leaks(f"{SHOWN}1234".encode()) == []

"""How commands ask: exit statuses for each way of failing, one line for people, the key, and whole lists."""

from __future__ import annotations

import http.client
import json
import re
from urllib.parse import unquote

import pytest

import manage
from api.problems import MEDIA_TYPE, PROBLEMS
from tests.cli.peer import Said, listing, peer, problem

KEY = "pk_live_hidden"
REVIEW = {
    "id": "r-1",
    "transaction_id": None,
    "customer_id": None,
    "reason": "odd",
    "state": "open",
    "opened_at": "2026-11-21T10:00:00.000000Z",
    "closed_at": None,
}
CLOSE = ("reviews", "close", "r-1", "--reason", "looked")
LIST = ("reviews", "list")
SHOW = ("breaker", "show", "gatewayA")
GONE = "http://127.0.0.1:9"  # discard: nobody listens there


@pytest.mark.parametrize(
    ("command", "answer", "status", "said"),
    [
        (LIST, problem(400, "Wrong: x.", errors={"x": ["No.", "Never."]}), 1, "400 Wrong: x. x: No. Never."),
        (LIST, problem(401, "No key."), 1, "401 No key."),
        (CLOSE, problem(404, "No such review."), 1, "404 No such review."),
        (CLOSE, problem(409, "Stale.", "stale-version"), 1, "409 Stale."),
        (CLOSE, problem(429, "Later."), 4, "429 Later."),
        (CLOSE, problem(503, "Starting."), 4, "503 Starting."),
        (CLOSE, problem(408, "Too slow."), 4, "408 Too slow."),
        (CLOSE, problem(414, "Too long."), 1, "414 Too long."),
        (CLOSE, problem(504, "Ask later."), 3, "504 Ask later."),
        (CLOSE, problem(500, "A mistake."), 3, "500 A mistake."),
        (LIST, problem(500, "A mistake."), 4, "500 A mistake."),
        (LIST, (200, b"<html>"), 1, "does not answer as the payment service: status 200, text/html"),
        (LIST, (302, b""), 1, "does not answer as the payment service: status 302, text/html"),
        (LIST, (502, b"<html>"), 4, "status 502, text/html"),
        (CLOSE, (502, b"<html>"), 3, "status 502, text/html"),
        (CLOSE, (200, b"<html>"), 3, "status 200, text/html"),
        (LIST, (200, b"<html>"), 1, "status 200, text/html"),
        (LIST, (200, {"ok": True}), 1, "does not answer as the payment service: status 200, application/json"),
        (LIST, (200, []), 1, "does not answer as the payment service: status 200, application/json"),
        (SHOW, (200, {"ok": True}), 1, "does not answer as the payment service: status 200, application/json"),
        (CLOSE, None, 3, "the command may have been carried out"),
        (LIST, None, 4, "cannot be reached"),
        (LIST, problem(400, "a\x1b[31m\nb\u202e"), 1, "400 a\\x1b[31m\\nb\\u202e"),
    ],
)  # fmt: skip
def test_exit_status(
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    answer: Said | None,
    status: int,
    said: str,
) -> None:
    """A script can tell a refusal from "not now" and from "nobody knows"; a person gets one line."""
    with peer(answer) as service:
        assert manage.main([*command, "--url", service.url]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"manage.py {command[0]}: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize("command", [LIST, CLOSE])
def test_nobody_listens(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """What was not sent was not done: an order, too, is "cannot be reached"."""
    assert manage.main([*command, "--url", GONE]) == 4
    assert "http://127.0.0.1:9 cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "status"), [(LIST, 4), (CLOSE, 3)])
def test_a_service_that_does_not_answer(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], status: int
) -> None:
    """The time limit is for all of it; an order that was sent may have been carried out."""
    with peer() as service:
        assert manage.main([*command, "--url", service.url, "--timeout", "0.1"]) == status
    assert "no answer within 0.1 s" in capsys.readouterr().err


def test_the_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent with every question, and shown by none, not even where the service quotes nothing else."""
    monkeypatch.setenv("PAYMENTS_API_KEY", KEY)
    with peer(listing(REVIEW, cursor="more"), listing(), problem(401, "No.")) as service:
        monkeypatch.setenv("PAYMENTS_URL", f"{service.url}/pay/")
        assert manage.main([*LIST, "--all"]) == 0
        assert manage.main([*CLOSE]) == 1
    assert [asked.headers["Authorization"] for asked in service.asked] == [f"Bearer {KEY}"] * 3
    assert service.asked[2].target == "/pay/v1/reviews/r-1/close"
    assert KEY not in "".join(capsys.readouterr())


def test_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one nothing is sent in its place."""
    with peer(listing()) as service:
        monkeypatch.setenv("PAYMENTS_BIND", service.url.removeprefix("http://"))
        assert manage.main([*LIST]) == 0
    assert "Authorization" not in service.asked[0].headers


@pytest.mark.parametrize(
    ("options", "limits", "count"),
    [(["--limit", "3"], ["3", "1"], 3), ([], ["50", "48"], 3), (["--all"], ["200"] * 2, 3)],
)
def test_lists(capsys: pytest.CaptureFixture[str], options: list[str], limits: list[str], count: int) -> None:
    """Page after page until there is enough or nothing more; no page is larger than what is still wanted."""
    items = [REVIEW | {"id": f"r-{number}"} for number in range(3)]
    with peer(listing(*items[:2], cursor="c=1&"), listing(items[2])) as service:
        assert manage.main([*LIST, *options, "--json", "--url", service.url]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == items[:count]
    assert err == ""
    assert [asked.target for asked in service.asked] == [
        f"/v1/reviews?limit={limits[0]}",
        f"/v1/reviews?limit={limits[1]}&cursor=c%3D1%26",
    ]


def test_a_list_that_is_cut_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody takes the first page for all there is."""
    with peer(listing(REVIEW, cursor="more")) as service:
        assert manage.main([*LIST, "--limit", "1", "--url", service.url]) == 0
    assert capsys.readouterr().err == "the first 1; more with --limit or --all\n"


WHY = ("--reason", "r", "--evidence", "e")
DOUBTFUL = {"internal-error", "outcome-unknown", "idempotency-key-in-flight"}
ORDERS = {
    CLOSE: "manage.py reviews list",
    ("customers", "adjust", "c 1", "-10.50", "USD", *WHY, "--idempotency-key", "k'1"): "--idempotency-key 'k'\"'\"'1'",
    ("transactions", "resolve", "t-1", "failed", *WHY, "--version", "3"): "manage.py transactions show t-1",
    ("dead-letters", "retry", "d-1"): "manage.py dead-letters show d-1",
    ("dead-letters", "retry-all"): "manage.py dead-letters list",
    ("dead-letters", "discard", "d 1", "--reason", "r"): "manage.py dead-letters show 'd 1'",
    ("breaker", "open", "g 1", "--reason", "r"): "manage.py breaker show 'g 1'",
}
"""All that change something, and what tells whether it was done."""
_OURS = {"type": "/problems/unavailable", "title": "t", "status": 503, "detail": "Not now."}
FOREIGN: dict[str, Said | None] = {
    "a text": (503, b"Service Unavailable", "text/plain"),
    "a page": (503, b"<html>"),
    "too many requests": (429, b"slow down", "text/plain"),
    "a bad gateway": (502, b"<html>"),
    "a time-out": (504, b"upstream request timeout", "text/plain"),
    "a refusal": (403, b"Forbidden", "text/plain"),
    "not found": (404, b"no route", "text/plain"),
    "too large": (413, b"<html>"),
    "a redirect": (302, b""),
    "a permanent redirect": (308, b""),
    "JSON": (503, {"error": "unavailable"}),
    "another's problem": (503, {"type": "about:blank", "title": "t", "status": 503, "detail": "d"}, MEDIA_TYPE),
    "another's problem by address": (503, {**_OURS, "type": "https://proxy/problems/unavailable"}, MEDIA_TYPE),
    "an unknown problem": (503, {**_OURS, "type": "/problems/overloaded"}, MEDIA_TYPE),
    "a problem of another status": (503, {**_OURS, "status": 400}, MEDIA_TYPE),
    "a problem behind another status": (400, _OURS, MEDIA_TYPE),
    "a problem of the wrong kind": (409, {**_OURS, "status": 409}, MEDIA_TYPE),
    "a problem as JSON": (503, _OURS, "application/json"),
    "a problem without a status": (503, {"type": "/problems/unavailable", "detail": "d"}, MEDIA_TYPE),
    "a problem without a detail": (503, {"type": "/problems/unavailable", "status": 503}, MEDIA_TYPE),
    "a problem that is a list": (503, [_OURS], MEDIA_TYPE),
    "half a problem": (503, b'{"type": "/problems/unavailable", "sta', MEDIA_TYPE),
    "a page for success": (200, b"<html>"),
    "nothing for success": (200, b"", "application/json"),
    "no content": (204, b"", "application/json"),
    "another success": (200, {"ok": True}),
    "a list for success": (200, []),
    "no answer": None,
    "the service's own doubt": problem(504, "Ask later."),
    "the service's own mistake": problem(500, "A mistake."),
    "the first is under way": problem(409, "Send it again.", "idempotency-key-in-flight"),
}
"""What says nothing of whether an order was carried out."""


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: " ".join(order[:2]))
def test_only_the_service_itself_can_say_that_an_order_was_not_carried_out(
    capsys: pytest.CaptureFixture[str], order: tuple[str, ...], kind: str
) -> None:
    """Anything else after it was sent is status 3, and the line says how to find out."""
    with peer(FOREIGN[kind]) as service:
        assert manage.main([*order, "--url", service.url]) == 3
        assert len(service.asked) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert ORDERS[order] in err
    assert "the command may have been carried out" in err


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: " ".join(order[:2]))
@pytest.mark.parametrize("name", sorted(PROBLEMS.keys() - DOUBTFUL))
def test_a_problem_of_the_service_says_that_it_was_not(
    capsys: pytest.CaptureFixture[str], order: tuple[str, ...], name: str
) -> None:
    """Refused is 1, not now is 4; nothing has to be looked up."""
    status = PROBLEMS[name].status
    with peer(problem(status, "No.", name)) as service:
        assert manage.main([*order, "--url", service.url]) == (4 if status in {408, 503} else 1)
    assert capsys.readouterr().err == f"manage.py {order[0]}: {status} No.\n"


def test_an_order_that_is_interrupted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is 130, and says how to find out whether the order was carried out."""
    answered = http.client.HTTPConnection.getresponse

    def interrupt(connection: http.client.HTTPConnection) -> None:
        answered(connection).read()
        raise KeyboardInterrupt

    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", interrupt)
    with peer((200, REVIEW)) as service:
        assert manage.main([*CLOSE, "--url", service.url]) == 130
    err = capsys.readouterr().err
    assert "the command may have been carried out" in err
    assert "manage.py reviews list" in err


def test_the_key_of_an_adjustment_is_told_before_it_is_sent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the command, the same again under that key is made once; one that was given is known."""
    told: list[str] = []

    def connect(_connection: object) -> None:
        told.append(capsys.readouterr().err)
        raise OSError("no")

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    order = ["customers", "adjust", "c1", "1", "USD", *WHY, "--url", GONE]
    assert manage.main(order) == 4
    assert manage.main([*order, "--idempotency-key", "k-1"]) == 4
    assert re.fullmatch("idempotency key: [0-9a-f-]{36}\n", told[0])
    assert told[1] == f"manage.py customers: {GONE} cannot be reached: no\n"


@pytest.mark.parametrize("customer", [".", "..", "a:b@c"])
def test_a_customer_is_asked_for_as_it_is(customer: str) -> None:
    """Dots are no directions, so customers that older versions took can be looked at."""
    with peer((200, {"customer_id": customer, "version": 1, "balances": []})) as service:
        assert manage.main(["customers", "show", customer, "--url", service.url]) == 0
    assert unquote(service.asked[0].target) == f"/v1/customers/{customer}"


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize(
    "time", ["2026-11-22T12:00:00 02:00", "yesterday", "2026-11-22", "2026-11-22T12:00:00%2B02:00"]
)
def test_a_time_that_is_none(capsys: pytest.CaptureFixture[str], option: str, time: str) -> None:
    """It is refused before it is sent, in words that hold in a shell."""
    with peer() as service, pytest.raises(SystemExit) as ended:
        manage.main(["transactions", "list", option, time, "--url", service.url])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "2026-01-31T12:00:00+02:00" in err
    assert "%2B" not in err.replace(time, "")
    assert service.asked == []


def test_a_time_with_an_offset(capsys: pytest.CaptureFixture[str]) -> None:
    """It is sent as a query has it."""
    with peer(listing()) as service:
        assert manage.main(["transactions", "list", "--from", "2026-11-22T12:00:00+02:00", "--url", service.url]) == 0
    assert "created_from=2026-11-22T12%3A00%3A00%2B02%3A00" in service.asked[0].target
    capsys.readouterr()


def test_an_adjustment_that_may_have_been_made(capsys: pytest.CaptureFixture[str]) -> None:
    """The key that it went out under is told, so that the same again is made once."""
    order = ["customers", "adjust", "c/1", "-10.50", "USD", "--reason", "r", "--evidence", "e"]
    with peer(None) as service:
        assert manage.main([*order, "--url", service.url]) == 3
    asked = service.asked[0]
    assert asked.target == "/v1/customers/c%2F1/adjustments"
    assert asked.body == {"amount": "-10.50", "currency": "USD", "reason": "r", "evidence": "e"}
    assert f"--idempotency-key {asked.headers['Idempotency-Key']}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["reviews"],
        ["reviews", "close", "r-1"],
        ["reviews", "list", "--limit", "0"],
        ["reviews", "list", "--limit", "3", "--all"],
        ["transactions", "resolve", "t-1", "unknown", "--reason", "r", "--evidence", "e"],
        ["transactions", "resolve", "t-1", "failed", "--reason", "r"],
        ["breaker", "ajar", "gatewayA", "--reason", "r"],
        ["tail", "--after", "-1"],
        ["tail", "--timeout", "0"],
        ["reviews", "list", "--api-key", "x"],
        ["customers", "adjust", "c", "1", "USD", "--reason", "r", "--evidence", "e", "--idempotency-key", ""],
        ["customers", "adjust", "c", "1", "USD", "--reason", "r", "--evidence", "e", "--idempotency-key", "a b"],
        ["customers", "adjust", "c", "1", "USD", "--reason", "r", "--evidence", "e", "--idempotency-key", "\u20ac"],
    ],
)
def test_wrong_arguments(arguments: list[str]) -> None:
    """Status 2, before anything is asked."""
    with pytest.raises(SystemExit) as ended:
        manage.main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("command", sorted(manage.COMMANDS.keys() - {"dev", "migrate", "simulator", "verify"}))
def test_help_names_exit_statuses(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """What scripts can rely on stands in the help of every command that they may want."""
    with pytest.raises(SystemExit):
        manage.main([command, "--help"])
    assert "exit status:\n  0 " in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ("customers", "show", "\udcff"),
        ("callbacks", "list", "--gateway", "\udcff"),
        ("transactions", "list", "--customer", "\udcff"),
        ("reviews", "close", "r.1", "--reason", "\udcff"),
        ("backup", "copies/\udcff.db"),
    ],
)
def test_an_argument_that_is_no_text(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """Bytes that are not UTF-8 are a wrong argument: nothing is asked or ordered with them."""
    with pytest.raises(SystemExit) as ended:
        manage.main([*command])
    assert ended.value.code == 2
    assert "every argument must be UTF-8 text" in capsys.readouterr().err

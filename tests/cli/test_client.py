"""Requests of commands: exit statuses, one line of error for the operator, the API key, and complete lists."""

from __future__ import annotations

import http.client
import json
import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

import manage
from api.problems import MEDIA_TYPE, PROBLEMS
from tests.cli.peer import Answer, listing, peer, problem

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
UNREACHABLE = "http://127.0.0.1:9"  # discard: no process listens there


@pytest.mark.parametrize(
    ("command", "answer", "status", "expected"),
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
    answer: Answer | None,
    status: int,
    expected: str,
) -> None:
    """Each kind of failure has its exit status and one line on standard error: refused, not now, or unknown."""
    with peer(answer) as service:
        assert manage.main([*command, "--url", service.url]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"manage.py {command[0]}: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert expected in err


@pytest.mark.parametrize("command", [LIST, CLOSE])
def test_a_service_that_cannot_be_reached(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """A request that was not sent had no effect: even for a command that changes something, the status is 4."""
    assert manage.main([*command, "--url", UNREACHABLE]) == 4
    assert "http://127.0.0.1:9 cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "status"), [(LIST, 4), (CLOSE, 3)])
def test_a_service_that_does_not_answer(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], status: int
) -> None:
    """The time limit applies to the whole request. A command that changes something may have been carried out."""
    with peer() as service:
        assert manage.main([*command, "--url", service.url, "--timeout", "0.1"]) == status
    assert "no answer within 0.1 s" in capsys.readouterr().err


def test_the_key_is_sent_and_never_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The API key is sent with every request, and appears in no output."""
    monkeypatch.setenv("PAYMENTS_API_KEY", KEY)
    with peer(listing(REVIEW, cursor="more"), listing(), problem(401, "No.")) as service:
        monkeypatch.setenv("PAYMENTS_URL", f"{service.url}/pay/")
        assert manage.main([*LIST, "--all"]) == 0
        assert manage.main([*CLOSE]) == 1
    assert [request.headers["Authorization"] for request in service.requests] == [f"Bearer {KEY}"] * 3
    assert service.requests[2].target == "/pay/v1/reviews/r-1/close"
    assert KEY not in "".join(capsys.readouterr())


def test_without_a_key_no_header_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an API key, no ``Authorization`` header is sent."""
    with peer(listing()) as service:
        monkeypatch.setenv("PAYMENTS_BIND", service.url.removeprefix("http://"))
        assert manage.main([*LIST]) == 0
    assert "Authorization" not in service.requests[0].headers


@pytest.mark.parametrize(
    ("options", "limits", "count"),
    [(["--limit", "3"], ["3", "1"], 3), ([], ["50", "48"], 3), (["--all"], ["200"] * 2, 3)],
)
def test_a_list_is_read_page_by_page(
    capsys: pytest.CaptureFixture[str], options: list[str], limits: list[str], count: int
) -> None:
    """Pages are requested until the list or the limit is reached.

    No page is larger than the number of items still needed.
    """
    items = [REVIEW | {"id": f"r-{number}"} for number in range(3)]
    with peer(listing(*items[:2], cursor="c=1&"), listing(items[2])) as service:
        assert manage.main([*LIST, *options, "--json", "--url", service.url]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == items[:count]
    assert err == ""
    assert [request.target for request in service.requests] == [
        f"/v1/reviews?limit={limits[0]}",
        f"/v1/reviews?limit={limits[1]}&cursor=c%3D1%26",
    ]


def test_a_list_that_is_cut_reports_it(capsys: pytest.CaptureFixture[str]) -> None:
    """When more items exist than are shown, standard error reports it."""
    with peer(listing(REVIEW, cursor="more")) as service:
        assert manage.main([*LIST, "--limit", "1", "--url", service.url]) == 0
    assert capsys.readouterr().err == "the first 1; more with --limit or --all\n"


WHY = ("--reason", "r", "--evidence", "e")
DOUBTFUL = {"internal-error", "outcome-unknown", "idempotency-key-in-flight"}
CHANGES = {
    CLOSE: "manage.py reviews list",
    ("customers", "adjust", "c 1", "-10.50", "USD", *WHY, "--idempotency-key", "k'1"): "--idempotency-key 'k'\"'\"'1'",
    ("transactions", "resolve", "t-1", "failed", *WHY, "--version", "3"): "manage.py transactions show t-1",
    ("transactions", "refund", "t-1", "--idempotency-key", "k-1"): "Repeat it with --idempotency-key k-1",
    ("transactions", "capture", "t-1", "--idempotency-key", "k-1"): "Repeat it with --idempotency-key k-1",
    ("transactions", "void", "t-1", "--idempotency-key", "k-1"): "Repeat it with --idempotency-key k-1",
    ("dead-letters", "retry", "d-1"): "manage.py dead-letters show d-1",
    ("dead-letters", "retry-all"): "manage.py dead-letters list",
    ("dead-letters", "discard", "d 1", "--reason", "r"): "manage.py dead-letters show 'd 1'",
    ("breaker", "open", "g 1", "--reason", "r"): "manage.py breaker show 'g 1'",
}
"""All commands that change something, with the text that describes how to find out whether it was done."""
_OURS = {"type": "/problems/unavailable", "title": "t", "status": 503, "detail": "Not now."}
INCONCLUSIVE: dict[str, Answer | None] = {
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
    "a foreign problem": (503, {"type": "about:blank", "title": "t", "status": 503, "detail": "d"}, MEDIA_TYPE),
    "a foreign absolute type": (
        503,
        {**_OURS, "type": "https://proxy/problems/unavailable"},
        MEDIA_TYPE,
    ),
    "an unknown problem": (503, {**_OURS, "type": "/problems/overloaded"}, MEDIA_TYPE),
    "a problem of another status": (503, {**_OURS, "status": 400}, MEDIA_TYPE),
    "a problem behind another status": (400, _OURS, MEDIA_TYPE),
    "a problem of the wrong kind": (409, {**_OURS, "status": 409}, MEDIA_TYPE),
    "a problem as JSON": (503, _OURS, "application/json"),
    "a problem without a status": (503, {"type": "/problems/unavailable", "detail": "d"}, MEDIA_TYPE),
    "a problem without a detail": (503, {"type": "/problems/unavailable", "status": 503}, MEDIA_TYPE),
    "a problem that is a list": (503, [_OURS], MEDIA_TYPE),
    "an incomplete problem": (503, b'{"type": "/problems/unavailable", "sta', MEDIA_TYPE),
    "a page for success": (200, b"<html>"),
    "nothing for success": (200, b"", "application/json"),
    "no content": (204, b"", "application/json"),
    "another success": (200, {"ok": True}),
    "a list for success": (200, []),
    "no answer": None,
    "the service's own 504": problem(504, "Ask later."),
    "the service's own 500": problem(500, "A mistake."),
    "the first is under way": problem(409, "Send it again.", "idempotency-key-in-flight"),
}
"""Answers that do not prove whether a command was carried out."""


@pytest.mark.parametrize("kind", INCONCLUSIVE)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: " ".join(change[:2]))
def test_only_the_service_itself_can_prove_that_a_command_was_not_carried_out(
    capsys: pytest.CaptureFixture[str], change: tuple[str, ...], kind: str
) -> None:
    """After the command was sent, any such answer is status 3, and the line describes how to find out."""
    with peer(INCONCLUSIVE[kind]) as service:
        assert manage.main([*change, "--url", service.url]) == 3
        assert len(service.requests) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert CHANGES[change] in err
    assert "the command may have been carried out" in err


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: " ".join(change[:2]))
@pytest.mark.parametrize("name", sorted(PROBLEMS.keys() - DOUBTFUL))
def test_a_problem_of_the_service_proves_that_a_command_was_not_carried_out(
    capsys: pytest.CaptureFixture[str], change: tuple[str, ...], name: str
) -> None:
    """The status is 1 if the service refused the command, and 4 if it cannot do it now.

    The line gives no further advice.
    """
    status = PROBLEMS[name].status
    with peer(problem(status, "No.", name)) as service:
        assert manage.main([*change, "--url", service.url]) == (4 if status in {408, 503} else 1)
    assert capsys.readouterr().err == f"manage.py {change[0]}: {status} No.\n"


def test_a_command_that_is_interrupted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is status 130, and the line describes how to find out whether the command was carried out."""
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


@pytest.mark.parametrize(
    "change",
    [
        ("customers", "adjust", "c1", "1", "USD", *WHY),
        ("transactions", "refund", "t-1"),
        ("transactions", "capture", "t-1"),
        ("transactions", "void", "t-1"),
    ],
    ids=lambda change: " ".join(change[:2]),
)
def test_an_idempotency_key_is_printed_before_it_is_sent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, change: tuple[str, ...]
) -> None:
    """A new idempotency key is printed before the request is sent; a given key is not printed.

    So a repetition is always safe.
    """
    printed: list[str] = []

    def connect(_connection: object) -> None:
        printed.append(capsys.readouterr().err)
        raise OSError("no")

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    command = [*change, "--url", UNREACHABLE]
    assert manage.main(command) == 4
    assert manage.main([*command, "--idempotency-key", "k-1"]) == 4
    assert re.fullmatch("idempotency key: [0-9a-f-]{36}\n", printed[0])
    assert printed[1] == f"manage.py {change[0]}: {UNREACHABLE} cannot be reached: no\n"


TRANSACTION: dict[str, object] = dict.fromkeys(
    ("attention", "captured_amount", "gateway_reference", "failure", "authorization_expires_at")
) | {
    "transaction_id": "t-2",
    "type": "refund",
    "status": "pending",
    "amount": "1.00",
    "currency": "USD",
    "refunded_amount": "0.00",
    "refunding_amount": "0.00",
    "parent_id": "t-1",
    "reason": "Returned.",
    "gateway": "gatewayA",
    "customer_id": "c",
    "details": {},
    "version": 4,
    "created_at": "2026-11-22T12:00:00.000000Z",
    "updated_at": "2026-11-22T12:00:00.000000Z",
}


@pytest.mark.parametrize(
    ("action", "target", "body"),
    [
        (("refund", "t/1"), "/v1/transactions/t%2F1/refunds", {}),
        (
            ("refund", "t-1", "--amount", "1", "--reason", "Returned."),
            "refunds",
            {"amount": "1", "reason": "Returned."},
        ),
        (("capture", "t-1"), "captures", {}),
        (("capture", "t-1", "--amount", "0.5"), "captures", {"amount": "0.5"}),
        (("void", "t-1"), "/v1/transactions/t-1/voids", {}),
    ],
)
def test_commands_on_a_transaction(
    capsys: pytest.CaptureFixture[str], action: tuple[str, ...], target: str, body: dict[str, str]
) -> None:
    """Only the fields that the operator gave are sent, and the new transaction is printed."""
    with peer((202, TRANSACTION)) as service:
        assert manage.main(["transactions", *action, "--idempotency-key", "k", "--url", service.url]) == 0
    (request,) = service.requests
    assert request.target.endswith(target)
    assert (request.method, request.body, request.headers["Idempotency-Key"]) == ("POST", body, "k")
    out = capsys.readouterr().out
    assert re.search("^parent_id: +t-1$", out, re.MULTILINE)
    assert re.search("^reason: +Returned.$", out, re.MULTILINE)


def test_filters_of_transactions(capsys: pytest.CaptureFixture[str]) -> None:
    """Each filter is sent as the API names it."""
    given = ("--type", "refund", "--parent", "t-1", "--gateway-reference", "A-1", "--correlation-id", "r 1")
    with peer(listing()) as service:
        assert manage.main(["transactions", "list", *given, "--url", service.url]) == 0
    sent = parse_qs(urlsplit(service.requests[0].target).query)
    assert sent == {
        "type": ["refund"],
        "parent_id": ["t-1"],
        "gateway_reference": ["A-1"],
        "correlation_id": ["r 1"],
        "limit": ["50"],
    }
    capsys.readouterr()


@pytest.mark.parametrize("customer", [".", "..", "a:b@c"])
def test_a_customer_id_is_sent_unchanged(customer: str) -> None:
    """A customer id of dots is sent unchanged, so customers that older versions accepted can be read."""
    with peer((200, {"customer_id": customer, "version": 1, "balances": []})) as service:
        assert manage.main(["customers", "show", customer, "--url", service.url]) == 0
    assert unquote(service.requests[0].target) == f"/v1/customers/{customer}"


@pytest.mark.parametrize("option", ["--from", "--to"])
@pytest.mark.parametrize(
    "time", ["2026-11-22T12:00:00 02:00", "yesterday", "2026-11-22", "2026-11-22T12:00:00%2B02:00"]
)
def test_an_invalid_time_is_refused(capsys: pytest.CaptureFixture[str], option: str, time: str) -> None:
    """An invalid time is refused before anything is sent. The error shows a form that works in a shell."""
    with peer() as service, pytest.raises(SystemExit) as ended:
        manage.main(["transactions", "list", option, time, "--url", service.url])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "2026-01-31T12:00:00+02:00" in err
    assert "%2B" not in err.replace(time, "")
    assert service.requests == []


def test_a_time_with_an_offset(capsys: pytest.CaptureFixture[str]) -> None:
    """The offset of a time is percent-encoded in the query."""
    with peer(listing()) as service:
        assert manage.main(["transactions", "list", "--from", "2026-11-22T12:00:00+02:00", "--url", service.url]) == 0
    assert "created_from=2026-11-22T12%3A00%3A00%2B02%3A00" in service.requests[0].target
    capsys.readouterr()


def test_an_adjustment_with_an_unknown_result_names_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the idempotency key that was sent, so that a repetition is made at most once."""
    change = ["customers", "adjust", "c/1", "-10.50", "USD", "--reason", "r", "--evidence", "e"]
    with peer(None) as service:
        assert manage.main([*change, "--url", service.url]) == 3
    request = service.requests[0]
    assert request.target == "/v1/customers/c%2F1/adjustments"
    assert request.body == {"amount": "-10.50", "currency": "USD", "reason": "r", "evidence": "e"}
    assert f"--idempotency-key {request.headers['Idempotency-Key']}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["reviews"],
        ["reviews", "close", "r-1"],
        ["reviews", "list", "--limit", "0"],
        ["reviews", "list", "--limit", "3", "--all"],
        ["transactions", "resolve", "t-1", "unknown", "--reason", "r", "--evidence", "e"],
        ["transactions", "resolve", "t-1", "failed", "--reason", "r"],
        ["transactions", "void", "t-1", "--amount", "1"],
        ["transactions", "capture", "t-1", "--reason", "r"],
        ["transactions", "refund", "t-1", "--idempotency-key", "a b"],
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
    """Wrong arguments are status 2, and nothing is sent."""
    with pytest.raises(SystemExit) as ended:
        manage.main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("command", sorted(manage.COMMANDS.keys() - {"dev", "migrate", "simulator", "verify"}))
def test_help_names_exit_statuses(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """The help of every command that scripts use lists its exit statuses."""
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
def test_an_argument_that_is_not_utf8(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """An argument that is not UTF-8 is refused, and nothing is sent."""
    with pytest.raises(SystemExit) as ended:
        manage.main([*command])
    assert ended.value.code == 2
    assert "every argument must be UTF-8 text" in capsys.readouterr().err

"""How commands ask: exit statuses for each way of failing, one line for people, the key, and whole lists."""

from __future__ import annotations

import json

import pytest

import manage
from tests.cli.peer import listing, peer, problem

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
GONE = "http://127.0.0.1:9"  # discard: nobody listens there


@pytest.mark.parametrize(
    ("command", "answer", "status", "said"),
    [
        (LIST, problem(400, "Wrong: x.", errors={"x": ["No.", "Never."]}), 1, "400 Wrong: x. x: No. Never."),
        (LIST, problem(401, "No key."), 1, "401 No key."),
        (CLOSE, problem(404, "No such review."), 1, "404 No such review."),
        (CLOSE, problem(409, "Stale."), 1, "409 Stale."),
        (CLOSE, problem(429, "Later."), 4, "429 Later."),
        (CLOSE, problem(503, "Starting."), 4, "503 Starting."),
        (CLOSE, problem(504, "Ask later."), 3, "504 Ask later."),
        (CLOSE, problem(500, "A mistake."), 3, "500 A mistake."),
        (LIST, problem(500, "A mistake."), 4, "500 A mistake."),
        (LIST, (200, b"<html>"), 1, "does not answer as the payment service: status 200, text/html"),
        (LIST, (302, b""), 1, "does not answer as the payment service: status 302, text/html"),
        (LIST, (502, b"<html>"), 4, "status 502, text/html"),
        (CLOSE, (502, b"<html>"), 3, "status 502, text/html"),
        (CLOSE, (200, b"<html>"), 3, "status 200, text/html"),
        (LIST, (200, b"<html>"), 1, "status 200, text/html"),
        (CLOSE, None, 3, "the order may have been carried out"),
        (LIST, None, 4, "cannot be reached"),
        (LIST, problem(400, "a\x1b[31m\nb\u202e"), 1, "400 a\\x1b[31m\\nb\\u202e"),
    ],
)  # fmt: skip
def test_exit_status(
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    answer: tuple[int, object] | None,
    status: int,
    said: str,
) -> None:
    """A script can tell a refusal from "not now" and from "nobody knows"; a person gets one line."""
    with peer(answer) as service:
        assert manage.main([*command, "--url", service.url]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("manage.py reviews: ")
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

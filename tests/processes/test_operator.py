"""Operator commands at a real service: force a breaker, and retry or discard dead letters."""

from __future__ import annotations

import signal
from typing import Any, Final

from tests.processes.installation import Answer, Installation
from tests.processes.process import Process, wait_until
from tests.processes.targets import SQLITE, on, on_postgresql

DEPOSITS: Final = 3
SOON: Final = {
    "PAYMENTS_LEASE_S": "1",
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.1",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.1",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "2",
}
IMPATIENT: Final = "timeout_s = 1\nmax_retries = 0\nbreaker = { request_volume = 1000, sleep_s = 0.1 }\n"
"""Only dead letters are retried, and no breaker stops them."""
SOON_DAILY: Final = f"{IMPATIENT}lookup_after_s = [0.1]\n"
"""As above. After one lookup that fails, the lookups are daily, and work in doubt is a dead letter."""

on_both = on(SQLITE, on_postgresql(workers=1))
"""Services with one worker, because an answer describes the worker that gives it."""


def order(installation: Installation, gateway: str, mode: str) -> dict[str, Any]:
    """Set the mode of ``gateway``'s breaker, and return the breaker in the answer."""
    answer = installation.post(f"/v1/gateways/{gateway}/breaker", {"mode": mode, "reason": "maintenance"})
    assert answer.status == 200
    breaker: dict[str, Any] = answer.body["breaker"]
    return breaker


def accepted(installation: Installation, gateway: str, amount: str = "10.00") -> str:
    """Post a deposit and return its path."""
    answer = installation.deposit(gateway=gateway, amount=amount)
    assert (answer.status, answer.body["status"]) == (202, "pending")
    path: str = answer.headers["Location"]
    return path


def wait_for_status(installation: Installation, path: str, status: str) -> None:
    """Wait until the deposit is in this status."""
    wait_until(lambda: bool(installation.get(path).body["status"] == status), f"{path} is {status}")


def restarted(installation: Installation, service: Process, how: signal.Signals) -> Process:
    """End the service with the signal ``how``, and start another one."""
    service.send_to_group(how)
    service.wait()
    return installation.service(PAYMENTS_LEASE_S="1")


@on_both
def test_a_breaker_that_is_forced_open(installation: Installation) -> None:
    """Behind a breaker forced open, nothing is called and deposits stay pending, also over restarts, until "auto"."""
    installation.simulator()
    service = installation.service(PAYMENTS_LEASE_S="1")  # with several services, this lease has to end first
    assert order(installation, "gatewayB", "open")["mode"] == "open"
    waiting = [accepted(installation, "gatewayB") for _ in range(DEPOSITS)]
    wait_for_status(installation, accepted(installation, "gatewayA"), "completed")
    for how in (signal.SIGTERM, signal.SIGKILL):
        service = restarted(installation, service, how)
        breaker = installation.breaker("gatewayB")
        assert (breaker["state"], breaker["mode"], breaker["reopens_at"]) == ("open", "open", None)
        waiting.append(accepted(installation, "gatewayB"))
        wait_for_status(installation, accepted(installation, "gatewayA"), "completed")
    for path in waiting:
        seen = installation.get(path).body
        assert (seen["status"], seen["attention"]) == ("pending", None)
    assert installation.calls("gatewayB") == 0

    assert order(installation, "gatewayB", "auto")["mode"] == "auto"
    for path in waiting:
        wait_for_status(installation, path, "completed")
    assert installation.calls("gatewayB") == len(waiting), "each is sent once"
    assert installation.breaker("gatewayB")["state"] == "closed"


@on_both
def test_a_breaker_that_is_forced_closed(installation: Installation) -> None:
    """A breaker forced closed permits calls despite failures; in mode "auto" it opens after enough failures."""
    installation.configure_gateways(a="breaker = { request_volume = 2, sleep_s = 3600 }\n")
    installation.simulator()
    installation.service(**SOON)
    installation.inject_faults(gateway="gatewayA", error=1)
    order(installation, "gatewayA", "closed")
    paths = [accepted(installation, "gatewayA") for _ in range(DEPOSITS)]
    wait_until(lambda: installation.calls("gatewayA") >= 6, "it is called despite its failures")
    assert installation.breaker("gatewayA")["state"] == "closed"
    order(installation, "gatewayA", "auto")
    paths += [accepted(installation, "gatewayA") for _ in range(DEPOSITS)]
    wait_until(lambda: bool(installation.breaker("gatewayA")["state"] == "open"), "it opens by itself")

    installation.inject_faults()
    order(installation, "gatewayA", "closed")
    for path in paths:
        wait_for_status(installation, path, "completed")
    assert len(installation.books().effects) == len(paths)


def dead_letters(installation: Installation, query: str = "") -> list[dict[str, Any]]:
    """The dead letters that match the query."""
    items: list[dict[str, Any]] = installation.get(f"/v1/dead-letters{query}").body["items"]
    return items


@on_both
def test_dead_letters_of_a_provider_that_refuses(installation: Installation) -> None:
    """Dead letters are listed with every error; after a retry of one or all they complete; discarded ones fail."""
    installation.configure_gateways(a=IMPATIENT, b=IMPATIENT)
    installation.service(**SOON)  # no provider is running
    paths = [accepted(installation, gateway) for gateway in ("gatewayA", "gatewayB", "gatewayA", "gatewayB")]
    wait_until(lambda: len(dead_letters(installation, "?state=parked")) == len(paths), "all are parked")
    for letter in dead_letters(installation):
        assert (letter["action"], letter["attempts"], len(letter["errors"])) == ("submit", 3, 3)
        assert all("not sent" in error["error"] for error in letter["errors"])
        assert letter["gateway"] == installation.get(f"/v1/transactions/{letter['transaction_id']}").body["gateway"]
    assert {installation.get(path).body["attention"] for path in paths} == {"parked"}
    by_path = {f"/v1/transactions/{letter['transaction_id']}": letter["id"] for letter in dead_letters(installation)}

    for path in paths[:2]:
        answer = installation.post(f"/v1/dead-letters/{by_path[path]}/discard", {"reason": "the customer paid in cash"})
        assert answer.status == 200
        discarded = installation.get(path).body
        assert (discarded["status"], discarded["attention"]) == ("failed", None)
        assert discarded["failure"]["code"] == "discarded"
    assert installation.post(f"/v1/dead-letters/{by_path[paths[0]]}/discard", {"reason": "again"}).status == 404

    one, other = paths[2:]
    assert installation.post(f"/v1/dead-letters/{by_path[one]}/retry").status == 202
    wait_until(lambda: 4 in {letter["attempts"] for letter in dead_letters(installation)}, "it has failed again")
    installation.simulator()
    assert installation.post(f"/v1/dead-letters/{by_path[one]}/retry").status == 202
    wait_for_status(installation, one, "completed")
    assert [letter["id"] for letter in dead_letters(installation)] == [by_path[other]]
    answer = installation.post("/v1/dead-letters/retry", {"gateway": "gatewayB", "state": "parked"})
    assert (answer.status, answer.body) == (202, {"count": 1})
    wait_for_status(installation, other, "completed")
    assert len(installation.books().effects) == 2


def discard(installation: Installation, path: str) -> Answer:
    """Try to discard the dead letter of the deposit. It has the deposit's id."""
    return installation.post(f"/v1/dead-letters/{path.rpartition('/')[2]}/discard", {"reason": "why not"})


def wait_for_refusal(installation: Installation, path: str) -> None:
    """Wait until the deposit is a dead letter; a discard is refused before and after, as it may have been sent."""
    answers: list[Answer] = []

    def refused() -> bool:
        answers.append(discard(installation, path))
        # Before it is a dead letter, the answer is 404, or 409 with another problem type.
        return bool(answers[-1].body["type"] == "/problems/not-discardable")

    wait_until(refused, "the discard is refused")
    assert {answer.status for answer in answers} <= {404, 409}
    assert answers[-1].status == 409
    (letter,) = dead_letters(installation)
    assert (letter["action"], letter["state"]) == ("resolve", "waiting")
    assert path.endswith(letter["transaction_id"])


def test_what_was_sent_without_an_answer_is_not_discarded(installation: Installation) -> None:
    """With keys, a dead letter with unknown outcome cannot be discarded (409); it completes after an answer."""
    installation.configure_gateways(a=SOON_DAILY)
    installation.simulator()
    installation.inject_faults(gateway="gatewayA", unknown=1)
    installation.service(**SOON)
    path = accepted(installation, "gatewayA")
    wait_for_refusal(installation, path)
    assert installation.get(path).body["status"] == "unknown"
    installation.inject_faults()
    assert installation.post("/v1/dead-letters/retry", {}).body == {"count": 1}
    wait_for_status(installation, path, "completed")
    assert len(installation.books().effects) == 1


def test_what_is_still_looked_up_is_no_dead_letter(installation: Installation) -> None:
    """With keys, a deposit with unknown outcome is no dead letter until its lookups are daily: a discard gets 404."""
    installation.configure_gateways(a=f"{IMPATIENT}lookup_after_s = [0.1, 0.1, 0.1, 3600, 3600]\n")
    installation.simulator()
    installation.inject_faults(gateway="gatewayA", unknown=1)
    installation.service(**SOON)
    path = accepted(installation, "gatewayA")
    wait_until(lambda: installation.calls("gatewayA") == 4, "it was sent and looked up, without an answer")
    wait_for_status(installation, path, "unknown")
    assert dead_letters(installation) == []
    assert discard(installation, path).status == 404
    assert installation.get(path).body["status"] == "unknown"


@on_both
def test_what_a_killed_process_may_have_sent_is_not_discarded(installation: Installation) -> None:
    """If the outcome of an earlier attempt is unknown, a discard gets 409, although no later attempt was sent."""
    installation.configure_gateways(a=SOON_DAILY)
    service = installation.service(**SOON)
    order(installation, "gatewayA", "open")
    path = accepted(installation, "gatewayA")
    service.end()
    installation.service(**SOON)
    order(installation, "gatewayA", "auto")
    wait_for_refusal(installation, path)
    assert installation.get(path).body["status"] == "pending"
    installation.simulator()
    assert installation.post("/v1/dead-letters/retry", {}).body == {"count": 1}
    wait_for_status(installation, path, "completed")
    assert len(installation.books().effects) == 1

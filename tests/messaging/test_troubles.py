"""A failure that goes on is logged when it is new, and once an hour."""

from __future__ import annotations

from messaging.troubles import REPEAT_S, Troubles


def test_what_is_logged() -> None:
    """Each kind of text once an hour. Numbers in it make no other kind."""
    now = 0.0
    troubles = Troubles(lambda: now)
    assert not troubles.end()
    logged = []
    for at, problem in [
        (0.0, "refused after 3ms"),
        (1.0, "refused after 12ms"),
        (2.0, "no such host"),
        (3.0, "refused after 4ms"),
        (REPEAT_S - 1, "refused after 1ms"),
        (REPEAT_S, "refused after 1ms"),
        (REPEAT_S + 1, "no such host"),
        (REPEAT_S + 2, "no such host"),
    ]:
        now = at
        if troubles.is_due(problem):
            logged.append((at, problem))
    assert logged == [
        (0.0, "refused after 3ms"),
        (2.0, "no such host"),
        (REPEAT_S, "refused after 1ms"),
        (REPEAT_S + 2, "no such host"),
    ]


def test_the_end_is_told_once() -> None:
    """After it the same failure is new."""
    troubles = Troubles(lambda: 0.0)
    assert troubles.is_due("refused")
    assert not troubles.is_due("refused")
    assert troubles.end()
    assert not troubles.end()
    assert troubles.is_due("refused")

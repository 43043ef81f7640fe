"""An error in any actor at any message: the actor is restarted within a second, and nothing is lost.

The points to hit are those that a scenario without errors passes. A new message is included automatically; a message
that the scenario does not use is a failure.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path

import pytest
from gevent import GreenletExit

import actors.messages
from actors.operations.discard import DiscardOperation
from actors.operations.outcome import OutcomeOperation
from actors.operations.receive import ReceiveOperation
from actors.operations.submission import SubmissionOperation
from tests.actors.system.crash_scenario import Scenario
from tests.actors.system.fault_injection import ON_START, RECOVER, Killer, Point
from tests.store.templates import new_sqlite

NO_MESSAGES = {"NotSent", "NotTried", "Unhandled", "Unanswered", "Recipient"}
"""Classes of actors/messages.py that are not sent to an actor by themselves."""
ELSEWHERE = {"Poll"}
"""Messages of processes on a shared store only: tests/actors/scheduling/test_polling.py has a scheduler's death."""


class Kill(BaseException):
    """An error that no code expects."""


KILLS: tuple[type[BaseException], ...] = (Kill, SystemExit, GreenletExit)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hundreds of actors die here: disable their logs."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with nothing in it."""
    path = tmp_path_factory.mktemp("empty") / "payments.db"
    new_sqlite(path)
    return path


@pytest.fixture
def play(empty: Path, tmp_path: Path) -> Callable[..., Killer]:
    """A function that plays a scenario with a killer and checks the results."""

    def play(killer: Killer, *, honours_keys: bool) -> Killer:
        path = tmp_path / "payments.db"
        for left in tmp_path.glob("payments.db*"):
            left.unlink()
        shutil.copy(empty, path)
        scenario = Scenario(path, killer, honours_keys=honours_keys)
        try:
            with killer.installed():
                scenario.play()
                scenario.judge()
        finally:
            scenario.real.close()
        return killer

    return play


def play_each(
    play: Callable[..., Killer],
    targets: Iterable[tuple[Point, ...]],
    errors: Iterable[type[BaseException]],
    *,
    honours_keys: bool,
) -> None:
    """Play a scenario for each of ``targets``, and report all failures together."""
    found = []
    for points, error in zip(targets, cycle(errors), strict=False):
        killer = Killer(*points, error=error)
        try:
            play(killer, honours_keys=honours_keys)
        except AssertionError as failure:
            found.append(f"{error.__name__} at {points}: {failure}")
        if len(killer.thrown) != len(points):
            found.append(f"{points} was not met")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("honours_keys", [True, False], ids=["keys", "no keys"])
@pytest.mark.parametrize("errors", [(RuntimeError,), KILLS], ids=["error", "kill"])
@pytest.mark.parametrize("place", ["before", "after", "call"])
def test_an_error_at_any_point_loses_nothing(
    play: Callable[..., Killer], place: str, errors: tuple[type[BaseException], ...], *, honours_keys: bool
) -> None:
    """Thrown at any message of any actor, before or after its handler or at any call in it: the results are correct."""
    points = play(Killer(), honours_keys=honours_keys).passed
    hit = [
        point for point in sorted(points) if (point.place if point.place in {"before", "after"} else "call") == place
    ]
    assert len(hit) > 20, "too few points were hit for a meaningful test"
    play_each(play, [(point,) for point in hit], errors, honours_keys=honours_keys)


@pytest.mark.parametrize("errors", [(RuntimeError,), KILLS], ids=["error", "kill"])
def test_an_error_during_recovery_loses_nothing(
    play: Callable[..., Killer], errors: tuple[type[BaseException], ...]
) -> None:
    """An actor that dies at any message, and again in ``recover``, loses nothing that it had in work."""
    points = play(Killer(), honours_keys=False).passed
    died = [point for point in sorted(points) if point.place == "before" and point.message not in {ON_START, RECOVER}]
    twice = [(point, Point(point.actor, RECOVER, place)) for point in died for place in ("before", "after")]
    play_each(play, twice, errors, honours_keys=False)


def test_each_message_is_met(play: Callable[..., Killer]) -> None:
    """The scenarios contain every message between actors: a message that is missing here would be tested nowhere."""
    seen = {point.message for keys in (True, False) for point in play(Killer(), honours_keys=keys).passed}
    there = {
        name
        for name, it in vars(actors.messages).items()
        if getattr(it, "__module__", "") == "actors.messages" and not name.startswith("_")
    }
    operations = {it.__name__ for it in (ReceiveOperation, DiscardOperation, SubmissionOperation, OutcomeOperation)}
    assert (there | operations) - NO_MESSAGES - ELSEWHERE - seen == set()

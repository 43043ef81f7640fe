"""The best number of connections of each server: the empty resource, and the service that accepts or completes.

A ratio of two servers is fair when each has its best number of connections. The empty resource needs few. The service
needs more, because its commits carry all waiting writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from bench import record, setups
from bench.load import Load
from bench.setups import ACCEPT, ACCEPT_HOT, COMPLETE, COMPLETE_HOT, COMPLETE_ROUTED, COMPLETING, EMPTY, Conditions

CANDIDATES: Final = (8, 16, 32, 64, 128)

_SAME_AS: Final = {
    EMPTY: EMPTY,
    ACCEPT: ACCEPT,
    ACCEPT_HOT: ACCEPT,
    COMPLETE: COMPLETE,
    COMPLETE_ROUTED: COMPLETE,
    COMPLETE_HOT: COMPLETE,
}
"""For each figure, the figure that is searched for it: many customers also for one customer, and for routed clients."""
_TRIAL_S: Final = 1.5
_AS_GOOD: Final = 0.99


def best_connections(figures: Collection[str], conditions: Conditions, say: Callable[[str], None]) -> dict[str, int]:
    """The best number of connections for each of ``figures``. Raises ServerError."""
    best: dict[str, int] = {}
    for searched in dict.fromkeys(_SAME_AS[figure] for figure in figures):
        rates = _rates(searched, conditions)
        best[searched] = fewest_as_good(rates)
        tried = ", ".join(f"{connections} connections {rate:,.0f}/s" for connections, rate in rates.items())
        say(f"  {searched}: {tried}")
    return {figure: best[_SAME_AS[figure]] for figure in figures}


def fewest_as_good(rates: Mapping[int, float]) -> int:
    """The smallest number of connections whose rate is within 1 % of the best rate."""
    return min(connections for connections, rate in rates.items() if rate >= _AS_GOOD * max(rates.values()))


def _rates(figure: str, conditions: Conditions) -> dict[int, float]:
    """The mean rate of each candidate over short trials, in ascending and then descending order.

    A change of the machine's speed then affects all candidates alike.
    """
    with _trial(figure, conditions) as trial:
        trial(CANDIDATES[0], conditions.warm_up_s)
        trials: dict[int, list[float]] = {connections: [] for connections in CANDIDATES}
        for connections in (*CANDIDATES, *reversed(CANDIDATES)):
            trials[connections].append(trial(connections, _TRIAL_S))
    return {connections: sum(rates) / len(rates) for connections, rates in trials.items()}


@contextmanager
def _trial(figure: str, conditions: Conditions) -> Iterator[Callable[[int, float], float]]:
    """Yield a function that loads a new server of ``figure`` for a time, and returns the answers per second."""
    if figure == EMPTY:
        with setups.empty_resource(conditions) as server:
            requests = setups.requests_to(server, conditions)
            yield (
                lambda connections, seconds: (
                    Load(server.address, connections, requests, workers=server.workers).run(seconds).rate
                )
            )
        return
    with setups.service(figure, conditions) as setup:
        drawn = setups.requests_to(setup.server, conditions)

        def trial(connections: int, seconds: float) -> float:
            sample = setups.load_of(setup, figure, drawn, connections, conditions).run(seconds)
            if figure not in COMPLETING:
                return sample.rate
            left = record.wait_until_finished(setup.database)
            return (len(sample.accepted) - left) / (time.perf_counter() - sample.began)

        yield trial

"""How many connections suit each side best: the empty resource, and the service that accepts or completes.

A ratio of two servers is fair when each is at its best. The empty resource is so with few connections; the service,
whose commits carry what waits for them, with more.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import record, servers
from bench.load import Load
from bench.measure import ACCEPT, ACCEPT_HOT, COMPLETE, COMPLETE_HOT, COMPLETING, EMPTY, Conditions, Requests

CANDIDATES: Final = (8, 16, 32, 64, 128)

_SAME_AS: Final = {EMPTY: EMPTY, ACCEPT: ACCEPT, ACCEPT_HOT: ACCEPT, COMPLETE: COMPLETE, COMPLETE_HOT: COMPLETE}
"""The figure whose best number a figure is measured with: one customer with that of many."""
_TRIAL_S: Final = 1.5
_PASSES: Final = 2
_AS_GOOD: Final = 0.99


def best_connections(figures: Collection[str], conditions: Conditions, say: Callable[[str], None]) -> dict[str, int]:
    """For each of ``figures`` the number of connections at which its server is at its best. Raises ServerError."""
    best: dict[str, int] = {}
    for searched in dict.fromkeys(_SAME_AS[figure] for figure in figures):
        rates = _rates(searched, conditions)
        best[searched] = fewest_as_good(rates)
        tried = ", ".join(f"{connections} connections {rate:,.0f}/s" for connections, rate in rates.items())
        say(f"  {searched}: {tried}")
    return {figure: best[_SAME_AS[figure]] for figure in figures}


def fewest_as_good(rates: Mapping[int, float]) -> int:
    """The number of connections with the best rate, or with one as good (1 %): the fewest of these."""
    return min(connections for connections, rate in rates.items() if rate >= _AS_GOOD * max(rates.values()))


def _rates(figure: str, conditions: Conditions) -> dict[int, float]:
    """The mean of short trials of each candidate, on the way up and down again: what drifts meets all alike."""
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name, ExitStack() as stack:
        trial = _trial(figure, conditions, Path(name), stack)
        trial(CANDIDATES[0], conditions.warm_up_s)
        trials: dict[int, list[float]] = {connections: [] for connections in CANDIDATES}
        for connections in (*CANDIDATES, *reversed(CANDIDATES)) * _PASSES:
            trials[connections].append(trial(connections, _TRIAL_S))
    return {connections: sum(rates) / len(rates) for connections, rates in trials.items()}


def _trial(figure: str, conditions: Conditions, folder: Path, stack: ExitStack) -> Callable[[int, float], float]:
    """Loads a new server of ``figure`` with so many connections for so many seconds; gives answers per second."""
    if figure == EMPTY:
        server = stack.enter_context(servers.empty_resource(folder))
        finished = None
    else:
        completing = figure in COMPLETING
        provider = stack.enter_context(servers.provider(folder))
        server = stack.enter_context(servers.service(folder, "all" if completing else "api", provider.address))
        finished = provider.answered if completing else None
    requests = Requests(server.host, conditions.customers)

    def trial(connections: int, seconds: float) -> float:
        most = conditions.unfinished_max
        sample = Load(server.address, connections, requests, finished=finished, unfinished_max=most).run(seconds)
        if finished is None:
            return sample.rate
        left = record.wait_until_finished(folder)
        return (len(sample.accepted) - left) / (time.perf_counter() - sample.began)

    return trial

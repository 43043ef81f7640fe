"""Falcon middleware that counts and times requests by method, route and status."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Final

import falcon

from api.metrics.meters import Meters

_BEGAN: Final = "payments.began"
PROBLEM: Final = "payments.problem"
"""The key in a request's environ for the name of the problem in its answer."""
_UNKNOWN: Final = "unknown"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMeters:
    """Count every request once, by the template of its route: a path would make a series for each id."""

    def __init__(self, meters: Meters, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        count, observations = meters.tallies.count, meters.tallies.observations
        self._problems = cache(lambda name: count(meters.problems.labels(name)).step)
        self._count = cache(
            lambda method, route, status: count(meters.http_requests.labels(method, route, status)).step
        )
        self._seconds = cache(lambda method, route: observations(meters.http_seconds.labels(method, route)).observe)

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Store the start time."""
        req.env[_BEGAN] = self._clock()

    def process_response(self, req: falcon.Request, resp: falcon.Response, *_: object) -> None:
        """Count the request. There is no duration when it was refused before ``process_request``."""
        env = req.env
        method = req.method if req.method in _METHODS else _UNKNOWN
        route = req.uri_template or _UNKNOWN
        self._count(method, route, resp.status_code)()
        problem = env.get(PROBLEM)
        if problem is not None:
            self._problems(problem)()
        began = env.get(_BEGAN)
        if began is not None:
            self._seconds(method, route)(self._clock() - began)

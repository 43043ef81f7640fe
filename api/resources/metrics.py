"""The metrics for Prometheus: the meters of all processes of this service, and figures of the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import falcon

from api.metrics.exposition import MEDIA_TYPE, exposition
from api.metrics.meters import Meters
from api.metrics.store import StoreCollector
from api.operations import OPERATES, Answer, Operation
from api.problems import INTERNAL_ERROR, INVALID_REQUEST
from api.screening.query import refuse_query


class MetricsResource:
    """``/metrics``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getMetrics",
            scopes=OPERATES,
            tag="Health",
            summary="Get metrics",
            description="Returns metrics in the Prometheus text format 0.0.4. Counts are summed over all worker "
            "processes of this service. `payments_store_up` is 0 while the store does not answer; the metrics from "
            "the store are then missing.",
            answer=Answer(200, "The metrics.", media_type="text/plain"),
            problems=(INVALID_REQUEST, INTERNAL_ERROR),
        )
    }

    def __init__(self, meters: Meters, store: StoreCollector) -> None:
        self._meters, self._store = meters, store

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get metrics."""
        refuse_query(req)
        resp.content_type = MEDIA_TYPE
        resp.data = exposition(self._meters, self._store)

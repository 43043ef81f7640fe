"""Reviews: contradictions to the record that an operator must examine and close."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import falcon
import orjson

from actors.operations.close_review import CloseReviewOperation
from actors.payments import Payments
from api import views
from api.body import read_object
from api.callers import merchant_of
from api.operations import LIST_PROBLEMS, OPERATES, OPERATOR_PROBLEMS, READ_PROBLEMS, Answer, Operation
from api.paging import CursorKind, Place, encode_cursor, page
from api.patterns import REVIEW_ID
from api.positions import generation_for
from api.problems import NOT_FOUND, OUTCOME_UNKNOWN, ProblemError
from api.replies import closed, replied
from api.schemas.common import read_fields
from api.schemas.reviews import CloseReviewSchema, ReviewListSchema, ReviewSchema, ReviewsQuery
from api.screening.query import read_query, refuse_query
from api.tracing import metadata
from domain.commands import CloseReview
from store.errors import StoreError
from store.queries import Queries, ReviewKey, ReviewView


class ReviewsResource:
    """``/v1/reviews``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="listReviews",
            scopes=OPERATES,
            tag="Reviews",
            summary="List reviews",
            description="Returns reviews, newest first. A review is opened when something contradicts the record, or "
            "when the outcome of a transaction needs an operator. It does not change the transaction's status. It "
            "shows what the gateway reported and what was on record.",
            query=ReviewsQuery,
            answer=Answer(200, "A page of reviews.", ReviewListSchema),
            problems=LIST_PROBLEMS,
        )
    }

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._schema = ReviewsQuery()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List reviews."""
        query = read_query(req, self._schema)
        limit: int = query["limit"]
        place: Place | None = query.get("cursor")
        before = None if place is None else ReviewKey.from_text(place.key)
        rows = self._queries.reviews(merchant_of(req), query.get("state"), before=before, limit=limit + 1)
        generation = generation_for(self._queries, place)
        resp.data = orjson.dumps(page(rows, limit, views.review, partial(_cursor, generation=generation)))


class ReviewResource:
    """``/v1/reviews/{review_id}``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getReview",
            scopes=OPERATES,
            tag="Reviews",
            summary="Get a review",
            description="Returns an open or closed review: what the gateway reported, and what was on record at that "
            "time.",
            answer=Answer(200, "The review.", ReviewSchema),
            problems=(*READ_PROBLEMS, NOT_FOUND),
        )
    }

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def on_get(self, req: falcon.Request, resp: falcon.Response, review_id: str) -> None:
        """Get a review."""
        refuse_query(req)
        resp.data = orjson.dumps(views.review(_find(self._queries, req, review_id)))


class CloseReviewResource:
    """``/v1/reviews/{review_id}/close``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="closeReview",
            scopes=OPERATES,
            tag="Reviews",
            summary="Close a review",
            description="Closes a review and keeps the reason on record. Closing a closed review changes nothing.",
            body=CloseReviewSchema,
            body_examples={"reason": {"reason": "The provider confirmed that the callback was a test."}},
            answer=Answer(200, "The closed review.", ReviewSchema),
            problems=OPERATOR_PROBLEMS,
        )
    }

    def __init__(self, payments: Payments, queries: Queries) -> None:
        self._payments, self._queries = payments, queries
        self._schema = CloseReviewSchema()

    def on_post(self, req: falcon.Request, resp: falcon.Response, review_id: str) -> None:
        """Close a review."""
        refuse_query(req)
        view = _find(self._queries, req, review_id)
        reason: str = read_fields(read_object(req), self._schema)["reason"]
        stream, request = view.stream, CloseReviewOperation(CloseReview(review_id, reason), view.review, metadata(req))
        # Also for a closed review: it was only read, and a commit must confirm it.
        closed(replied(lambda: self._payments.execute(stream, request), req, None))
        try:
            view = _find(self._queries, req, review_id)
        except StoreError:  # the review is closed, but the store cannot be read now
            detail = f"The review is closed. Get /v1/reviews/{review_id} to see it."
            raise ProblemError(OUTCOME_UNKNOWN, detail) from None
        resp.data = orjson.dumps(views.review(view))


def _find(queries: Queries, req: falcon.Request, review_id: str) -> ReviewView:
    view = queries.review(merchant_of(req), review_id) if REVIEW_ID.fullmatch(review_id) else None
    if view is None:
        raise ProblemError(NOT_FOUND, "No such review.")
    return view


def _cursor(view: ReviewView, generation: int) -> str:
    return encode_cursor(CursorKind.REVIEWS, view.key.text, generation)

"""The quick reader of requests has the results and errors of marshmallow."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

import api.routes  # noqa: F401  # it loads all schemas
from api.schemas.children import CaptureSchema, RefundSchema, VoidSchema
from api.schemas.common import OperatorCommandSchema, PageSchema
from api.schemas.dead_letters import RetrySchema
from api.schemas.loading import RequestSchema
from api.schemas.transactions import CommandSchema, DepositSchema
from domain.strict_json import Duplicated
from tests.effort import examples

REPEATED: Final = Duplicated("order")


def below(schema: type[RequestSchema]) -> list[type[RequestSchema]]:
    """All schemas that extend ``schema``, and itself unless it has no fields."""
    found = [found for kind in schema.__subclasses__() for found in below(kind)]
    return [schema, *found] if schema().fields else found


QUERIES: Final = below(PageSchema)
BODIES: Final = [schema for schema in below(RequestSchema) if schema not in QUERIES]

texts = st.one_of(
    st.sampled_from(
        [
            *("", " ", "gatewayA", "12345", ".", "..", "USD", "usd", "XXX", "100.00", "1e3", "completed", "failed"),
            *(
                "auto",
                "manual",
                "automatic",
                "authorized",
                "open",
                "waiting",
                "parked",
                "pending",
                "deposit",
                "latest",
                "0",
                "1",
                "200",
                "201",
                "30",
                "x" * 501,
            ),
            *("2026-11-30T12:00:00Z", "2026-11-30 12:00:00", "a\x00b", "\ud800", "\u0663", "12345\n"),
        ]
    ),
    st.text(max_size=5),
)
values = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([Decimal("100.0"), Decimal("Infinity"), Decimal("1E+400"), 10**40, REPEATED, [], ["a"]]),
    st.dictionaries(texts, st.one_of(texts, st.none(), st.integers(), st.just(REPEATED)), max_size=3),
    st.just({str(number): "a" for number in range(21)}),
)


def outcome(schema: Schema, load: Any, raw: Mapping[str, Any]) -> object:
    """What loading leads to: the values in their order, or the errors with the values that are valid."""
    before = dict(raw)
    try:
        loaded = load(schema, raw)
    except ValidationError as error:
        return "refused", error.messages_dict, error.valid_data, list(error.messages_dict)
    finally:
        assert dict(raw) == before
    return "loaded", loaded, list(loaded), [type(value) for value in loaded.values()]


def raws(schema: type[RequestSchema], anything: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Members for ``schema``, of which any may be wrong or missing, and sometimes an unknown one."""
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(schema().fields, anything))
    return st.one_of(known, st.builds(lambda members, more: {**members, **more}, known, st.just({"other": 1})))


@pytest.mark.parametrize("schema", BODIES, ids=lambda schema: schema.__name__)
@examples(200)
@given(data=st.data())
def test_bodies(schema: type[RequestSchema], data: st.DataObject) -> None:
    """A body is accepted, read and refused as marshmallow does."""
    raw, instance = data.draw(raws(schema, values)), schema()
    assert outcome(instance, schema.load, raw) == outcome(instance, Schema.load, raw)


@pytest.mark.parametrize("schema", QUERIES, ids=lambda schema: schema.__name__)
@examples(200)
@given(data=st.data())
def test_queries(schema: type[RequestSchema], data: st.DataObject) -> None:
    """A query, which holds strings or null, is accepted, read and refused as marshmallow does."""
    raw, instance = data.draw(raws(schema, st.none() | texts)), schema()
    assert outcome(instance, schema.load, raw) == outcome(instance, Schema.load, raw)


def members(**anything: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Members of which none, or one, is wrong."""
    right = st.fixed_dictionaries(
        {
            "amount": st.sampled_from([100, Decimal("100.0"), "100.00", Decimal(0), "x"]),
            "gateway": st.sampled_from(["gatewayA", "other"]),
            "customer_id": st.sampled_from(["12345", "a" * 128]),
        },
        optional={
            "currency": st.sampled_from(["USD", "JPY"]),
            "details": st.sampled_from([{}, {"order": "7"}]),
            "capture": st.sampled_from(["manual", "automatic"]),
        },
    )
    wrong = st.one_of([st.builds(lambda value, name=name: {name: value}, value) for name, value in anything.items()])
    return st.builds(lambda members, change: {**members, **change}, right, st.one_of(st.just({}), wrong))


@examples(500)
@given(members(**dict.fromkeys(DepositSchema().fields, values), other=values))
def test_commands(raw: dict[str, Any]) -> None:
    """A command with at most one wrong member is read as marshmallow does."""
    for schema in (DepositSchema, CommandSchema):
        instance = schema()
        assert outcome(instance, schema.load, raw) == outcome(instance, Schema.load, raw)


@pytest.mark.parametrize(
    ("schema", "raw"),
    [
        (CommandSchema, {"amount": 1, "gateway": "gatewayA", "customer_id": "1"}),
        (CommandSchema, {"amount": "1", "gateway": "a", "customer_id": "1", "currency": "USD", "details": {"a": "b"}}),
        (DepositSchema, {"amount": 1, "gateway": "gatewayA", "customer_id": "1"}),
        (DepositSchema, {"amount": 1, "gateway": "gatewayA", "customer_id": "1", "capture": "manual"}),
        (VoidSchema, {}),
        (CaptureSchema, {"amount": "1"}),
        (RefundSchema, {"amount": 1, "reason": "a"}),
        (OperatorCommandSchema, {"reason": "a"}),
        (RetrySchema, {}),
        (PageSchema, {"limit": "7"}),
    ],
)
def test_valid_input_is_not_read_by_marshmallow(
    schema: type[RequestSchema], raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only invalid input reaches marshmallow, for the errors."""
    instance = schema()
    monkeypatch.setattr(Schema, "load", None)
    assert instance.load(raw) is not None

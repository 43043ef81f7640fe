"""Histories of commands on one account, in any order, for property tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import strategies as st

from domain.commands import (
    Adjust,
    Command,
    Discard,
    OpenReview,
    Receive,
    ReceiveChild,
    RecordCallback,
    RecordOutcome,
    RecordSubmission,
    Resolution,
    Resolve,
)
from domain.events import Kind
from domain.money import Money
from domain.outcomes import AUTHORIZATION_GONE, Approved, Authorization, Category, Declined, Unknown
from tests.domain.ledger import EXPIRES

IDS = ["t1", "t2", "t3"]
PARENTS = ["t0", "h0", "t1", "t2"]
CHILDREN = ["c1", "c2", "c3", "c4"]
ALL_IDS = [*IDS, "h0", *CHILDREN, *CHILDREN]
"""Children twice: their outcomes are what most histories are about."""
REFERENCES = ["A-1", "A-1", "A-2"]

declined = st.builds(
    Declined,
    st.sampled_from(["do_not_honor", *sorted(AUTHORIZATION_GONE)]),
    st.sampled_from([None, *Category]),
    st.just("no"),
    st.sampled_from([None, *REFERENCES]),
)
authorizations = st.builds(
    Authorization, st.sampled_from(REFERENCES), st.sampled_from([EXPIRES, EXPIRES + timedelta(days=1)])
)
approved = st.builds(Approved, st.sampled_from(REFERENCES), st.booleans())
outcomes = st.one_of(approved, approved, authorizations, declined, st.builds(Unknown, st.just("timeout")))
children = st.builds(
    ReceiveChild,
    st.sampled_from([Kind.REFUND, Kind.CAPTURE, Kind.VOID]),
    st.sampled_from(CHILDREN),
    st.sampled_from(PARENTS),
    st.sampled_from([None, None, 1, 2, 4]),
    st.sampled_from([None, "a broken cup"]),
    st.booleans(),
)
receives = st.builds(
    Receive,
    st.sampled_from([Kind.DEPOSIT, Kind.WITHDRAWAL]),
    st.sampled_from(IDS),
    st.just("gatewayA"),
    st.builds(Money, st.integers(1, 4), st.sampled_from(["USD", "JPY"])),
    st.just({}),
    st.booleans(),
)
holds = st.builds(
    Receive,
    st.just(Kind.DEPOSIT),
    st.sampled_from(IDS),
    st.just("gatewayA"),
    st.builds(Money, st.integers(1, 4), st.just("USD")),
    st.just({}),
    st.just(value=True),
    st.just(value=True),
)
adjustments = st.builds(
    Adjust,
    st.just("adjustment"),
    st.builds(Money, st.integers(-3, 3).filter(bool), st.sampled_from(["USD", "JPY"])),
    st.just("a mistake"),
    st.just("ticket 7"),
)
commands = st.one_of(
    receives,
    holds,
    children,
    children,
    st.builds(RecordSubmission, st.sampled_from(ALL_IDS), st.integers(1, 3)),
    st.builds(RecordOutcome, st.sampled_from(ALL_IDS), outcomes, st.just(EXPIRES)),
    st.builds(RecordOutcome, st.sampled_from(ALL_IDS), outcomes, st.just(EXPIRES)),
    st.builds(RecordOutcome, st.sampled_from(ALL_IDS), outcomes, st.just(EXPIRES)),
    st.builds(Discard, st.sampled_from(ALL_IDS), st.just("no more")),
    st.builds(OpenReview, st.sampled_from(ALL_IDS), st.just("a day without an answer")),
    st.builds(
        RecordCallback,
        st.sampled_from(ALL_IDS),
        st.just("gatewayA"),
        st.sampled_from(REFERENCES),
        st.builds(Money, st.integers(1, 4), st.just("USD")),
        st.one_of(approved, authorizations, declined),
        st.just(EXPIRES),
    ),
    st.builds(
        Resolve,
        st.sampled_from(ALL_IDS),
        st.sampled_from(Resolution),
        st.integers(1, 20),
        st.just("asked by telephone"),
        st.just(EXPIRES),
    ),
    adjustments,
)
BEGINNING: Sequence[Command] = (
    Receive(Kind.DEPOSIT, "t0", "gatewayA", Money(5, "USD"), {}),
    RecordOutcome("t0", Approved("A-1", final=True)),
    Receive(Kind.DEPOSIT, "h0", "gatewayA", Money(4, "USD"), {}, manual_capture=True),
    RecordOutcome("h0", Authorization("A-1", EXPIRES)),
    ReceiveChild(Kind.REFUND, "c1", "t0", 2),
    ReceiveChild(Kind.CAPTURE, "c2", "h0", 3),
)
"""A completed deposit and an authorization, with a child each: others and their outcomes find something to act on."""
histories = st.lists(commands, max_size=60).map(lambda rest: [*BEGINNING, *rest])

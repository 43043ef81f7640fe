"""A model of ``append`` in a few dictionaries, and the machine that compares a store with it, step by step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.account import Balance
from store.codec import chain
from store.errors import UnstorableError
from store.port import (
    Action,
    AppendResult,
    Claim,
    CloseWork,
    Committed,
    Conflict,
    DeliveryCertainty,
    Duplicate,
    EncodedEvent,
    Fence,
    Fenced,
    Head,
    MoveWork,
    OpenWork,
    Part,
    Snapshot,
    StoredEvent,
    StreamKey,
    WorkChange,
    WorkState,
    Write,
)
from tests.store.builders import OWNER

STREAMS = [StreamKey("main", "a"), StreamKey("main", "b"), StreamKey("other", "a")]
CURRENCIES = ["EUR", "USD", "JPY"]
KEYS = ["k1", "k2", "k3"]
WORK = ["w1", "w2", "w3"]


class _Refused(Exception):  # noqa: N818 - not an error of the program: the model's answer "unstorable"
    pass


@dataclass
class Model:
    """All data on which the answers depend."""

    streams: dict[StreamKey, list[EncodedEvent]] = field(default_factory=lambda: {stream: [] for stream in STREAMS})
    balances: dict[StreamKey, dict[str, Balance]] = field(default_factory=lambda: {stream: {} for stream in STREAMS})
    claims: dict[tuple[str, str], bytes] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    certainties: dict[str, DeliveryCertainty] = field(default_factory=dict)

    def head(self, stream: StreamKey, back: int = 0) -> Head:
        """The stream's head, or the head that it had ``back`` events ago."""
        events = self.streams[stream]
        events = events[: len(events) - back] if back else events
        return Head(events[-1].version, events[-1].hash) if events else Head()

    def append(self, write: Write) -> tuple[object, ...]:
        """The answer to ``write`` in the form of ``plain``; changes the model if it is committed."""
        events = [event for part in write.parts for event in part.events]
        stream = self.streams[write.stream]
        if events and write.head != self.head(write.stream):
            heads = [Head()] + [Head(event.version, event.hash) for event in stream]
            if write.head not in heads:
                return ("conflict",)
            after = stream[write.head.version :]
            if [event.event_id for event in after[: len(events)]] == [event.event_id for event in events]:
                return ("committed",)
            return ("conflict", *(event.event_id for event in after))
        refusal = self._refusal(write)
        all_claims = [claim for part in write.parts for claim in part.claims]
        if refusal is not None:
            held = all(self.claims.get((claim.scope, claim.key)) == claim.value for claim in all_claims)
            known = held and not events and all(part.claims for part in write.parts)
            if refusal[0] == "duplicate" and known and not self._stale_before(write, refusal[1]):
                return ("committed",)
            return refusal
        stream.extend(events)
        self.balances[write.stream].update(write.balances)
        self.claims.update({(claim.scope, claim.key): claim.value for claim in all_claims})
        for part in write.parts:
            for change in part.work:
                self._change(change)
        return ("committed",)

    def _refusal(self, write: Write) -> tuple[object, ...] | None:
        seen = dict(self.claims)
        for number, part in enumerate(write.parts):
            for claim in part.claims:
                if (claim.scope, claim.key) in seen:
                    return ("duplicate", number, seen[claim.scope, claim.key])
                seen[claim.scope, claim.key] = claim.value
            if part.fence is not None and self.tokens.get(part.fence.work_id) != part.fence.token:
                return ("fenced", number)
        return None

    def _stale_before(self, write: Write, number: object) -> bool:
        assert isinstance(number, int)
        fences = [part.fence for part in write.parts[:number] if part.fence is not None]
        return any(self.tokens.get(fence.work_id) != fence.token for fence in fences)

    def _change(self, change: WorkChange) -> None:
        if isinstance(change, OpenWork):
            if change.work_id in self.tokens:
                raise _Refused
            self.tokens[change.work_id] = 1
            self.certainties[change.work_id] = DeliveryCertainty.NOT_SENT
        elif change.work_id in self.tokens:
            if isinstance(change, CloseWork):
                del self.tokens[change.work_id], self.certainties[change.work_id]
            else:
                self.tokens[change.work_id] += 1
                self.certainties[change.work_id] = change.certainty


def plain(answer: AppendResult) -> tuple[object, ...]:
    """The answer in the form that the model returns."""
    match answer:
        case Committed():
            return ("committed",)
        case Conflict(missed=missed):
            return ("conflict", *(event.event_id for event in missed))
        case Duplicate(part=part, claim=claim):
            return ("duplicate", part, claim.value)
        case Fenced(part=part):
            return ("fenced", part)


def _as_told(answer: tuple[object, ...], expected: tuple[object, ...]) -> tuple[object, ...]:
    """The answer without missed events of later writes in the same batch: a conflict may contain them or not."""
    return answer[: len(expected)] if answer[0] == "conflict" and len(expected) > 1 else answer


_claims = st.builds(Claim, st.just("s"), st.sampled_from(KEYS), st.sampled_from([b"1", b"2"]))
_changes = st.one_of(
    st.sampled_from(WORK).map(lambda key: OpenWork(key, None, "gatewayA", Action.SUBMIT, "DepositReceived", OWNER)),
    st.builds(
        MoveWork,
        st.sampled_from(WORK),
        st.just(Action.RESOLVE),
        st.sampled_from([WorkState.QUEUED, WorkState.LEASED]),
        st.just(1.0),
        st.just(1),
        st.just(()),
        st.sampled_from(DeliveryCertainty),
    ),
    st.sampled_from(WORK).map(CloseWork),
)


class PartPlan(NamedTuple):
    """The plan of a part: the number of events, its claims, its fence and how stale that is, its changes of work."""

    events: int
    claims: list[Claim]
    fenced: str | None
    stale: int
    work: list[WorkChange]


class WritePlan(NamedTuple):
    """The plan of a write: its stream, how old its head is, whether its hash is wrong, its parts, new balances."""

    stream: StreamKey
    back: int
    wrong: bool
    parts: list[PartPlan]
    balances: dict[str, Balance]


_part_plans = st.builds(
    PartPlan,
    st.sampled_from([1, 1, 1, 0, 2]),
    st.one_of(st.just([]), st.just([]), st.lists(_claims, max_size=2)),
    st.sampled_from([None, None, None, None, *WORK]),
    st.sampled_from([0, 0, 0, 0, 1]),
    st.lists(_changes, max_size=2),
)
_amounts = st.sampled_from([0, 1, 250, 2**63 - 1])
_write_plans = st.builds(
    WritePlan,
    st.sampled_from(STREAMS),
    st.sampled_from([0, 0, 0, 0, 1, 2]),
    st.sampled_from([False] * 9 + [True]),
    st.lists(_part_plans, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(CURRENCIES), st.builds(Balance, _amounts, _amounts), max_size=2),
)


class Appending(Protocol):
    """The part of a store that is compared with the model."""

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See ``store.port.Store``."""

    def load(self, stream: StreamKey) -> Snapshot:
        """See ``store.port.Store``."""

    def stream_events(self, stream: StreamKey, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """See ``store.queries.Queries``."""

    def close(self) -> None:
        """See ``store.port.Store``."""


WorkRows = dict[str, tuple[int, DeliveryCertainty]]
"""Token and certainty of each piece of work."""


class AppendMachine(RuleBasedStateMachine):
    """Batches of new and repeated writes. In between, the store is closed and opened again."""

    store: Appending

    def fresh(self) -> Appending:
        """A new, empty store in which OWNER is registered."""
        raise NotImplementedError

    def again(self) -> Appending:
        """Open the store again after it was closed."""
        raise NotImplementedError

    def work_rows(self) -> WorkRows:
        """The work that is in the store."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.written: list[Write] = []
        self.events = 0

    @initialize()
    def start(self) -> None:
        """An empty store."""
        self.store = self.fresh()

    @rule(plans=st.lists(_write_plans, min_size=1, max_size=4), data=st.data())
    def append_new(self, plans: list[WritePlan], data: st.DataObject) -> None:
        """A batch of new writes, each from a head that may be right, old or wrong, with some repeated ones."""
        batch: list[Write] = []
        model = copy.deepcopy(self.model)  # later writes of a batch continue from earlier ones
        for plan in plans:
            head = model.head(plan.stream, min(plan.back, len(model.streams[plan.stream])))
            write = self._write(plan, head._replace(hash=b"?" * 32) if plan.wrong else head, model)
            batch.append(write)
            try:
                model.append(write)
            except _Refused:
                break
        if self.written:
            batch += data.draw(st.lists(st.sampled_from(self.written), max_size=2))
        self._append(batch)

    def _write(self, plan: WritePlan, head: Head, model: Model) -> Write:
        end, parts = head, []
        for part in plan.parts:
            events = []
            for _ in range(part.events):
                self.events += 1
                body = f"body {self.events}".encode()
                end = Head(end.version + 1, chain(end.hash, body))
                events.append(EncodedEvent(f"e{self.events}", end.version, "DepositReceived", body, end.hash))
            fence = None if part.fenced is None else Fence(part.fenced, model.tokens.get(part.fenced, 1) - part.stale)
            parts.append(Part(tuple(events), tuple(part.claims), fence, tuple(part.work)))
        has_events = any(part.events for part in parts)  # no other write changes balances
        return Write(plan.stream, head, tuple(parts), balances=tuple(plan.balances.items()) if has_events else ())

    def _append(self, batch: list[Write]) -> None:
        before = copy.deepcopy(self.model)
        try:
            expected: list[tuple[object, ...]] | None = [self.model.append(write) for write in batch]
        except _Refused:
            expected, self.model = None, before
        if expected is None:
            with pytest.raises(UnstorableError):
                self.store.append(batch)
        else:
            answers = [plain(answer) for answer in self.store.append(batch)]
            assert [_as_told(*pair) for pair in zip(answers, expected, strict=True)] == expected
        self.written += batch

    @rule()
    def reopen(self) -> None:
        """Close the store and open it again: nothing may depend on memory alone."""
        self.store.close()
        self.store = self.again()

    @invariant()
    def streams_are_as_in_the_model(self) -> None:
        """The store holds exactly the committed events, under their versions and chained."""
        for stream, events in self.model.streams.items():
            stored = self.store.stream_events(stream, after=0, limit=10_000)
            assert [(e.event_id, e.version, e.body, e.hash) for e in stored] == [
                (e.event_id, e.version, e.body, e.hash) for e in events
            ]

    @invariant()
    def loads_are_as_in_the_model(self) -> None:
        """Each stream ends where it ends in the model, with the last balance of each currency."""
        for stream, balances in self.model.balances.items():
            loaded = self.store.load(stream)
            assert loaded.head == self.model.head(stream)
            assert loaded.account.balances == balances

    @invariant()
    def work_is_as_in_the_model(self) -> None:
        """The store holds exactly the open work, with its token and the certainty of its last move."""
        assert self.work_rows() == {
            key: (token, self.model.certainties[key]) for key, token in self.model.tokens.items()
        }

    def teardown(self) -> None:
        """Close the store."""
        if hasattr(self, "store"):
            self.store.close()

"""The append of a document, which takes batches that do not fit into arrays, and those of an earlier version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from store.port import Claim, Fence, Write
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.arrays import AppendArrays
from tests.effort import EFFORT
from tests.store import (
    test_contract_append,
    test_contract_certainty,
    test_contract_refusals,
    test_contract_work,
    test_postgresql_processes,
)
from tests.store.builders import OWNER, Customer
from tests.store.postgresql_server import Schema
from tests.store.test_append_model import PostgresqlMachine

SAME: Final[Sequence[Callable[..., Any]]] = [
    *(
        partial(test_contract_append.test_a_head_that_is_not_in_the_stream, what=what)
        for what in ("another hash", "a version that is not there yet", "a stream that is not there")
    ),
    test_contract_append.test_another_history_is_a_conflict_without_events,
    test_contract_certainty.test_work_opened_for_an_unknown_owner_may_have_been_sent,
    *(
        partial(test_contract_refusals.test_a_stale_token_stores_nothing, fence=fence)
        for fence in (Fence("t1", 2), Fence("t1", 0), Fence("nothing", 1))
    ),
    test_contract_refusals.test_the_fenced_part_is_named,
    test_contract_work.test_every_move_renews_the_token,
]


def _name(test: Callable[..., Any]) -> str:
    return str(test.func.__name__ if isinstance(test, partial) else test.__name__)


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch is a document."""
    monkeypatch.setattr(AppendArrays, "complete", False)


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize("test", SAME, ids=_name)
def test_a_document_has_the_same_answers(
    test: Callable[[PostgresqlStore], None], schema: Schema, shared_store: PostgresqlStore
) -> None:
    """The tests of the contract hold for a document as well."""
    assert schema.execute("SELECT 1 FROM events") == []
    shared_store.register_owner(OWNER)
    test(shared_store)


@pytest.mark.usefixtures("documents")
def test_work_is_queued_for_an_owner_that_is_being_declared_dead(schema: Schema) -> None:
    """An append waits for the declaration, as with arrays."""
    test_postgresql_processes.test_work_opened_for_an_owner_that_is_being_declared_dead_is_queued(schema)


@pytest.mark.usefixtures("documents")
def test_a_document_answers_as_the_model(schema: Schema) -> None:
    """The machine of ``append_model`` gets the answers of the model from documents alone."""
    PostgresqlMachine.schema = schema
    run_state_machine_as_test(
        PostgresqlMachine,
        settings=settings(
            max_examples=10 * EFFORT,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_usual_batches_are_arrays() -> None:
    """Writes that share nothing are arrays. One stream, claim or piece of work in two writes needs a document."""
    one, two = Customer("one"), Customer("two")
    received = [one.deposit("t1", claims=[Claim("key", "1", b"")]), two.deposit("t2")]
    assert is_arrays(received)
    assert is_arrays([one.complete("t1"), two.complete("t2")])
    assert not is_arrays([*received, one.deposit("t3")])
    assert not is_arrays([*received, Customer("three").deposit("t4", claims=[Claim("key", "1", b"")])])
    assert not is_arrays([*received, Customer("three").deposit("t2")])


def is_arrays(writes: Sequence[Write]) -> bool:
    """Whether the batch fits into arrays."""
    return AppendArrays(writes).complete

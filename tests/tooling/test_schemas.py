"""Released schemas of events stay compatible: a table of changes, and the comparison with the checkout's record."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tooling.checkout import CHECKOUT
from tests.tooling.compatibility import incompatibilities
from tests.tooling.schemas import CHANGELOG, FOLDER, generated, last_version, problems, release

Schema = dict[str, Any]
Change = Callable[[Schema], object]


def event(schema: Schema) -> Schema:
    """The schema of the event."""
    return schema["properties"]["event"]  # type: ignore[no-any-return]


def data(schema: Schema) -> Schema:
    """The schema of the event's own data."""
    return event(schema)["properties"]["data"]  # type: ignore[no-any-return]


def facts(schema: Schema) -> Schema:
    """The schema of the transaction."""
    return schema["properties"]["transaction"]  # type: ignore[no-any-return]


COMPATIBLE: dict[str, Change] = {
    "nothing": lambda _: None,
    "another description": lambda it: it.update(description="Else.", title="Else", **{"$id": "x"}),
    "a new member": lambda it: data(it)["properties"].update(later={"type": "string"}),
    "a new required member": lambda it: (
        data(it)["properties"].update(later={}),
        data(it)["required"].append("later"),
    ),
    "an optional member becomes required": lambda it: data(it)["required"].append("gateway_reference"),
    "a value less": lambda it: data(it)["properties"].update(category={"enum": ["hard"]}),
    "never null": lambda it: facts(it)["properties"].update(parent_id={"type": "string"}),
    "a fixed value of the same type": lambda it: data(it)["properties"].update(code={"const": "x"}),
    "a higher minimum": lambda it: event(it)["properties"]["generation"].update(minimum=1),
    "a new pattern": lambda it: data(it)["properties"]["code"].update(pattern="^[a-z]+$"),
}
INCOMPATIBLE: dict[str, Change] = {
    "a member less": lambda it: data(it)["properties"].pop("message"),
    "a renamed member": lambda it: data(it)["properties"].update(text=data(it)["properties"].pop("message")),
    "an optional member less": lambda it: data(it)["properties"].pop("gateway_reference"),
    "a required member becomes optional": lambda it: data(it)["required"].remove("code"),
    "another type": lambda it: event(it)["properties"]["version"].update(type="string"),
    "null": lambda it: facts(it)["properties"].update(amount={"anyOf": [{"type": "string"}, {"type": "null"}]}),
    "the transaction may be null": lambda it: it["properties"].update(
        transaction={"anyOf": [facts(it), {"type": "null"}]}
    ),
    "a value more": lambda it: data(it)["properties"]["category"]["anyOf"][0]["enum"].append("odd"),
    "another constant": lambda it: event(it)["properties"].update(type={"const": "DepositFailed2"}),
    "no constant": lambda it: event(it)["properties"].update(type={"type": "string"}),
    "a fixed value of another type": lambda it: data(it)["properties"].update(code={"const": 1}),
    "another pattern": lambda it: facts(it)["properties"]["amount"].update(pattern=".*"),
    "no pattern": lambda it: facts(it)["properties"]["amount"].pop("pattern"),
    "another format": lambda it: facts(it)["properties"]["created_at"].update(format="date"),
    "a lower minimum": lambda it: event(it)["properties"]["version"].update(minimum=0),
    "no minimum": lambda it: event(it)["properties"]["version"].pop("minimum"),
    "other details": lambda it: facts(it)["properties"]["details"].update(additionalProperties={"type": "integer"}),
    "any details": lambda it: facts(it)["properties"]["details"].pop("additionalProperties"),
    "any data": lambda it: event(it)["properties"].update(data={}),
}


def changed(change: Change) -> Schema:
    """The schema of a failed deposit after a change."""
    schema = copy.deepcopy(generated()["DepositFailed"])
    change(schema)
    return schema


@pytest.mark.parametrize("name", COMPATIBLE)
def test_compatible_changes(name: str) -> None:
    """Consumers that know the old schema can read what is written under the new one."""
    assert [*incompatibilities(changed(COMPATIBLE["nothing"]), changed(COMPATIBLE[name]))] == []


@pytest.mark.parametrize("name", INCOMPATIBLE)
def test_incompatible_changes(name: str) -> None:
    """Consumers that rely on the old schema would fail."""
    assert [*incompatibilities(changed(COMPATIBLE["nothing"]), changed(INCOMPATIBLE[name]))] != []


def test_released_schemas_fit_the_code() -> None:
    """Each schema of the changelog's last version is on record, and still holds for what this version publishes."""
    assert problems(CHECKOUT, generated()) == []


@pytest.mark.parametrize(
    ("heading", "version"),
    [("## Unreleased", None), ("## 1.2.3", "1.2.3"), ("## [1.2.3] - 2026-12-01", "1.2.3"), ("### 1.2.3", None)],
)
def test_the_last_version(heading: str, version: str | None) -> None:
    """It is the first version in the changelog."""
    assert last_version(f"# Changelog\n\n## Unreleased\n\n{heading}\n\n## 0.0.1\n") == (version or "0.0.1")
    assert last_version(f"# Changelog\n\n{heading}\n") == version


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose changelog has a version, and its schemas."""
    (tmp_path / CHANGELOG).write_text("## Unreleased\n\n## 1.0.0\n")
    assert release(tmp_path, generated()) == []
    return tmp_path


def test_a_release_records_every_schema(checkout: Path) -> None:
    """A version in the changelog needs its schemas on record. Nothing is recorded before the first one."""
    assert problems(checkout, generated()) == []
    assert len([*(checkout / FOLDER).glob("*.v1.json")]) == len(generated())
    (checkout / CHANGELOG).write_text("## Unreleased\n\n## 1.1.0\n\n## 1.0.0\n")
    (problem,) = problems(checkout, generated())
    assert "1.0.0" in problem
    assert "1.1.0" in problem
    assert release(checkout, generated()) == []
    assert problems(checkout, generated()) == []
    (checkout / CHANGELOG).write_text("## Unreleased\n")
    assert len(problems(checkout, generated())) == 1
    assert release(checkout, generated()) == [f"{CHANGELOG} has no version yet"]


def test_an_incompatible_change_of_a_released_schema_is_found(checkout: Path) -> None:
    """It is found and cannot be released; so is an event type that disappears."""
    present = {**generated(), "DepositFailed": changed(INCOMPATIBLE["a member less"])}
    del present["VoidFailed"]
    expected = ["DepositFailed: /event/data has no member message any more"]
    expected.append("VoidFailed: the event type was released and does not exist any more")
    assert problems(checkout, present) == expected
    (checkout / CHANGELOG).write_text("## 1.1.0\n")
    assert release(checkout, present) == expected


def test_the_released_schemas_are_on_record() -> None:
    """A change that breaks consumers of the changelog's last version is found in the record of this checkout."""
    present = {**generated(), "DepositFailed": changed(INCOMPATIBLE["a member less"])}
    assert problems(CHECKOUT, present) == ["DepositFailed: /event/data has no member message any more"]


def test_a_new_event_type_is_compatible(checkout: Path) -> None:
    """Consumers skip types that they do not know."""
    present = {**generated(), "DepositBlessed": generated()["DepositFailed"]}
    assert problems(checkout, present) == []

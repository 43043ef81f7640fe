"""The customer's actor uses operations by their interface only, and each operation has a module of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ACTORS = Path(__file__).parents[3] / "actors"
CUSTOMER = sorted((ACTORS / "customer").glob("*.py"))
OPERATIONS = sorted((ACTORS / "operations").glob("*.py"))
SHARED = {"leases", "new_transaction", "related_work", "reviews", "waiting_callbacks"}
"""Modules of ``actors/operations`` that operations may share."""


def tree_of(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text())


def operation_classes() -> set[str]:
    """The names of all operation classes."""
    names = {node.name for path in OPERATIONS for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)}
    return {name for name in names if name.endswith("Operation")}


def names_in(tree: ast.Module) -> Iterator[str]:
    """Every name that the code uses or imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.ImportFrom(names=aliases) | ast.Import(names=aliases):
                yield from (alias.name for alias in aliases)


def imported_modules(tree: ast.Module) -> set[str]:
    """The modules that the code imports from."""
    return {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }


def kinds_tested(tree: ast.Module) -> Iterator[str]:
    """The classes that ``isinstance`` and ``case`` test for."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, kinds]):
                yield from (name.id for name in ast.walk(kinds) if isinstance(name, ast.Name))
            case ast.MatchClass(cls=ast.Name(id=name)):
                yield name


def test_there_are_operations() -> None:
    """The other tests find operations to check."""
    assert {"ReceiveOperation", "OutcomeOperation", "CallbackOperation"} <= operation_classes()
    assert len(CUSTOMER) > 5


@pytest.mark.parametrize("path", CUSTOMER, ids=lambda path: path.stem)
def test_the_customers_actor_names_no_operation(path: Path) -> None:
    """It neither uses their names nor imports them."""
    tree = tree_of(path)
    assert not operation_classes() & set(names_in(tree))
    assert not any(module.startswith("actors.operations") for module in imported_modules(tree))


@pytest.mark.parametrize("path", CUSTOMER, ids=lambda path: path.stem)
def test_the_customers_actor_tests_for_no_kind_of_operation(path: Path) -> None:
    """It tests whether a message is an operation, and not whether it is a command or a report."""
    assert not {"CommandOperation", "WorkOperation"} & set(kinds_tested(tree_of(path)))


@pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.stem)
def test_an_operation_imports_no_other_operation(path: Path) -> None:
    """What several of them need is in a module that holds no operation."""
    imported = {module for module in imported_modules(tree_of(path)) if module.startswith("actors.operations")}
    assert imported <= {f"actors.operations.{name}" for name in SHARED}
    if path.stem in SHARED:
        assert not operation_classes() & {node.name for node in tree_of(path).body if isinstance(node, ast.ClassDef)}

"""The checker reports each kind of broken reference, and accepts each kind of valid one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tooling import references

FILES = {
    "README.md": "# The service\n",
    "docs/page.md": "# A page\n\n## Two words: `code`, and more\n\n## Same\n\n## Same\n\n```\n# no heading\n```\n",
    "docs/decisions/0001-first.md": "# 1. First\n",
    "store/__init__.py": "",
    "store/port.py": "LIMIT = 1\nSIZE: int = 2\n\n\ndef append():\n    pass\n\n\nclass Store:\n    pass\n",
    "store/queries.sql": "SELECT 1;\n",
    "tests/test_port.py": "",
    "tests/mutants/__main__.py": "",
    "tests/mutants/__init__.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout without broken references."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


def found(folder: Path, name: str, text: str) -> list[str]:
    """The checker's report when the checkout has one more file."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return [str(problem) for problem in references.check(folder)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n[a](gone.md)", "docs/new.md:2: link gone.md leads to no file"),
        ("[a](../../outside.md)", "docs/new.md:1: link ../../outside.md leads to no file"),
        ("[a](page.md#gone)", "docs/new.md:1: link page.md#gone leads to no heading"),
        ("[a](page.md#no-heading)", "docs/new.md:1: link page.md#no-heading leads to no heading"),
        ("[a](page.md#same-2)", "docs/new.md:1: link page.md#same-2 leads to no heading"),
        ("[a](#gone)", "docs/new.md:1: link #gone leads to no heading"),
        ("[`a`](decisions/0002-second.md)", "docs/new.md:1: link decisions/0002-second.md leads to no file"),
        ("[a](https://)", "docs/new.md:1: link https:// is malformed"),
        ("<https://>", "docs/new.md:1: link https:// is malformed"),
        ("[a](ftp://host/file)", "docs/new.md:1: link ftp://host/file is malformed"),
        ("`store/gone.py`", "docs/new.md:1: store/gone.py does not exist"),
        ("see store/migrations/*.sql", "docs/new.md:1: store/migrations/*.sql does not exist"),
        ("`gone.py`", "docs/new.md:1: `gone.py` does not exist"),
        ("`store.gone`", "docs/new.md:1: `store.gone` is no module of the checkout, nor defined in one"),
        ("`store.port.Gone`", "docs/new.md:1: `store.port.Gone` is no module of the checkout, nor defined in one"),
        ("`test_gone`", "docs/new.md:1: `test_gone` names no file of tests"),
        ("`tests/store/test_port`", "docs/new.md:1: `tests/store/test_port` names no file of tests"),
        ("`test_gone*`", "docs/new.md:1: `test_gone*` names no file of tests"),
        ("```\npython -m tests.gone\n```", "docs/new.md:2: module tests.gone does not exist"),
    ],
)
def test_dead_references_of_a_page(folder: Path, text: str, problem: str) -> None:
    """A page's broken link, path, file or module is reported at least once, with its line."""
    assert problem in found(folder, "docs/new.md", text)


@pytest.mark.parametrize(
    "text",
    [
        "[a](page.md) [b](../README.md#the-service) [c](decisions/0001-first.md) [d](../store/) [e](decisions)",
        "[a](page.md#two-words-code-and-more) [b](page.md#same) [c](page.md#same-1)",
        "# Here\n\n[a](#here)",
        "[a](https://example.com/x#y) <https://example.com> [b](mailto:a@example.com)",
        "`store/port.py` `store/*.sql` store/queries.sql, `port.py` `store.port` `store.port.Store`",
        "`store.port.append` `store.port.LIMIT` `store.port.SIZE`",
        "`/v1/gateways/x.json` https://host/store/gone.py `gateways/<name>`",
        "`test_port` `test_p*` `tests/test_port`",
        "```\n[a](gone.md)\npython -m tests.mutants\n```",
    ],
)
def test_live_references_of_a_page(folder: Path, text: str) -> None:
    """Existing targets are not reported, nor is text that only looks like a path of the checkout."""
    assert found(folder, "docs/new.md", text) == []


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("store/new.py", "x = 1\n# docs/gone.md has it\n", "store/new.py:2: docs/gone.md does not exist"),
        ("store/new.py", '"""A.\n\nIn ``gone.py``.\n"""\n', "store/new.py:3: `gone.py` does not exist"),
        ("store/new.py", 'def f():\n    """See docs/gone."""\n', "store/new.py:2: docs/gone does not exist"),
        ("store/new.sql", "-- store/gone.py\n", "store/new.sql:1: store/gone.py does not exist"),
        ("setup.cfg", "# tests/gone.py\n", "setup.cfg:1: tests/gone.py does not exist"),
        ("new.toml", "# tests/gone.py\n", "new.toml:1: tests/gone.py does not exist"),
        ("Makefile", "\t$(PYTHON) -m tests.gone\n", "Makefile:1: module tests.gone does not exist"),
        ("Makefile", "# docs/gone.md\n", "Makefile:1: docs/gone.md does not exist"),
    ],
)
def test_dead_references_elsewhere(folder: Path, name: str, text: str, problem: str) -> None:
    """Broken references in comments, docstrings and configuration are reported as in pages."""
    assert problem in found(folder, name, text)


@pytest.mark.parametrize("absent", references.ABSENT)
@pytest.mark.parametrize("name", ["docs/new.md", "store/new.py", "setup.cfg", "CHANGELOG.md"])
def test_pages_outside_the_repository(folder: Path, name: str, absent: str) -> None:
    """A text that names a page outside the repository is reported, even in a string."""
    assert found(folder, name, f'x = "as {absent} says"\n') == [
        f"{name}:1: {absent} is not in the repository: state the rule"
    ]


def test_strings_are_data(folder: Path) -> None:
    """A string in code that is no docstring may name files that do not exist."""
    assert found(folder, "store/new.py", 'x = "store/gone.py"\n') == []


def test_the_changelog_names_what_was(folder: Path) -> None:
    """The changelog may name files that were renamed later, but its links must work."""
    assert found(folder, "CHANGELOG.md", "`store/old.py` [a](gone.md)\n") == [
        "CHANGELOG.md:1: link gone.md leads to no file"
    ]


def test_what_tools_make_is_not_read(folder: Path) -> None:
    """Virtual environments, caches and data are not checked."""
    assert found(folder, ".venv/lib/new.md", "[a](gone.md)") == []
    assert found(folder, "var/new.md", "[a](gone.md)") == []


def test_status(monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the problems and ends with 1, or with 0 when there are none."""
    monkeypatch.setattr(references, "CHECKOUT", folder)
    assert references.main() == 0
    (folder / "README.md").write_text("[a](gone.md)", "utf-8")
    assert references.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "README.md:1: link gone.md leads to no file"

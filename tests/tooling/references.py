"""Checker of references: links, paths and modules in texts of the checkout must exist.

It reads pages (``.md``), comments and docstrings of Python files, and configuration files. It never opens a network
connection: external links are checked for their form. ``python -m tests.tooling.references`` prints each problem.
"""

from __future__ import annotations

import ast
import io
import os
import re
import sys
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

CHECKOUT: Final = Path(__file__).resolve().parents[2]

ABSENT: Final = ("contract" + ".md", "design" + ".md", "facts" + ".md")
"""Pages that are not part of the repository. A text must state their rules instead of naming the page."""

EXAMPLES: Final = frozenset(
    {
        "docker-compose.override.yml",  # a file that readers write themselves
        "gateways/gateway_c.py",  # the example of docs/adding-a-gateway.md
        "gateways/simulator/gateway_c.py",
        "migrations/NNNN_title.sql",  # placeholders in names
        "messaging/redis_streams.py",  # the example of docs/adding-a-broker.md
        "tests/messaging/redis_server.py",
        "messaging.redis_streams",
        "store/scratch/backend.py",  # the example of docs/adding-a-store.md
        "actors/operations/add_note.py",  # the example in tests/actors/operations/test_new_operation.py
        "page.md",  # an argument of a command
    }
)
"""Files that texts may name although the checkout does not have them."""

_SKIPPED: Final = frozenset({"__pycache__", "var", "node_modules"})
_HISTORY: Final = "CHANGELOG.md"
"""The changelog uses the names of its time, so only its links are checked."""
_ROOTS: Final = "actors|api|bench|cli|config|deploy|docs|domain|gateways|messaging|server|store|tests"
_SUFFIXES: Final = "cfg|conf|conf\\.py|json|md|py|sh|sql|toml|txt|yml"
_TEXTS: Final = frozenset({".cfg", ".conf", ".sh", ".sql", ".toml", ".yml"})

_FENCE: Final = re.compile(r"^(```+)[^\n]*\n.*?^\1 *$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]*)>?[^)]*\)")
_BARE: Final = re.compile(r"<(https?://[^>\s]*)>")
_HEADING: Final = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
_PATH: Final = re.compile(
    rf"(?<![\w/.:<>{{}}$@-])(?:\./)?((?:{_ROOTS})(?:/[\w.*-]+)*/[\w.*-]*\.(?:{_SUFFIXES}))(?![\w/])"
)
_PAGE: Final = re.compile(r"(?<![\w/.:-])(docs/[\w./-]*\w)")
_QUOTED: Final = re.compile(r"(`+)([^`\n]+?)\1")
_FILE: Final = re.compile(rf"(?:[\w-]+/)*[\w-]+\.(?:{_SUFFIXES})")
_MODULE: Final = re.compile(r"(?:actors|api|bench|cli|config|domain|gateways|messaging|server|store|tests)(?:\.\w+)+")
_TESTS: Final = re.compile(r"(?:tests/(?:\w+/)*)?test_[\w*]+")
_RUN: Final = re.compile(r"(?<=\s-m )((?:bench|tests)(?:\.\w+)*)")


class Problem(NamedTuple):
    """A reference to something that does not exist."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Passage(NamedTuple):
    """A text for readers (a page, a comment or a docstring), and its first line number."""

    line: int
    text: str


class Tree:
    """The files of a checkout, without the files that tools and the service create."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def files(self) -> frozenset[str]:
        """Paths relative to the checkout, with slashes."""
        found = set()
        for parent, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
            found |= {Path(parent, name).relative_to(self._folder).as_posix() for name in names}
        return frozenset(found)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all files, without their folders."""
        return frozenset(path.rpartition("/")[2] for path in self.files)

    def read(self, path: str) -> str:
        """The text of a file."""
        return (self._folder / path).read_text("utf-8")

    def exists(self, path: str) -> bool:
        """Whether the checkout has this file or folder; ``*`` stands for any part of a name."""
        if "*" in path:
            return any(self._folder.glob(path))
        return (self._folder / path).exists()

    def has_tests(self, name: str) -> bool:
        """Whether a file of tests has this name, with its folders or without; ``*`` stands for any part of it."""
        return self.exists(f"{name}.py") if "/" in name else any(fnmatch(one, f"{name}.py") for one in self.names)

    def defines(self, module: str) -> bool:
        """Whether a dotted name is a module of the checkout, or a name that a module defines."""
        folder, *rest = module.split(".")
        for depth in range(len(rest), -1, -1):
            base = "/".join([folder, *rest[:depth]])
            source = next((path for path in (f"{base}.py", f"{base}/__init__.py") if path in self.files), None)
            if source is not None:
                return depth == len(rest) or rest[depth] in _defined(self.read(source))
        return not rest and self.exists(folder)


def _defined(source: str) -> set[str]:
    """The names that a module defines or imports at its top level."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(page: str) -> set[str]:
    """The anchors of a page; a repeated heading gets a number."""
    found: dict[str, int] = {}
    for heading in _HEADING.findall(_FENCE.sub("", page)):
        anchor = slug(heading)
        found[anchor] = found.get(anchor, -1) + 1
    return {
        f"{anchor}-{number}" if number else anchor for anchor, count in found.items() for number in range(count + 1)
    }


def passages(path: str, text: str) -> Iterator[Passage]:
    """The texts of a file that are checked."""
    if not path.endswith(".py"):
        yield Passage(1, text)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(token.start[0], token.string)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Passage(node.lineno, node.value.value)


def _links(tree: Tree, path: str, page: str) -> Iterator[tuple[int, str]]:
    """Broken links of a page, with their position."""
    prose = _FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), page)
    for link in (*_LINK.finditer(prose), *_BARE.finditer(prose)):
        target = urlsplit(link[1])
        if target.scheme:
            if target.scheme not in {"http", "https", "mailto"} or not (target.netloc or target.path):
                yield link.start(), f"link {link[1]} is malformed"
            continue
        folder = path.rpartition("/")[0]
        name = os.path.normpath(f"{folder or '.'}/{unquote(target.path)}") if target.path else path
        if name.startswith("..") or not tree.exists(name):
            yield link.start(), f"link {link[1]} leads to no file"
        elif target.fragment and (not name.endswith(".md") or target.fragment not in anchors(tree.read(name))):
            yield link.start(), f"link {link[1]} leads to no heading"


def _paths(tree: Tree, text: str) -> Iterator[tuple[int, str]]:
    """Problems of paths that begin with a folder of the checkout."""
    for named in (*_PATH.finditer(text), *_PAGE.finditer(text)):
        if named[1] not in EXAMPLES and not tree.exists(named[1]):
            yield named.start(), f"{named[1]} does not exist"
    for run in _RUN.finditer(text):
        if not tree.defines(run[1]):
            yield run.start(), f"module {run[1]} does not exist"


def _quoted(tree: Tree, path: str, text: str) -> Iterator[tuple[int, str]]:
    """Problems of files and modules in backticks. Other text may use the same words, so it is not checked."""
    for quoted in _QUOTED.finditer(text):
        name = quoted[2].strip()
        if name in EXAMPLES:
            continue
        if _FILE.fullmatch(name):
            beside = f"{path.rpartition('/')[0]}/{name}".lstrip("/")
            if "/" in name:
                known = tree.exists(name) or tree.exists(beside) or any(one.endswith(f"/{name}") for one in tree.files)
            else:
                known = name in tree.names
            if not known:
                yield quoted.start(), f"`{name}` does not exist"
        elif _MODULE.fullmatch(name) and not tree.defines(name):
            yield quoted.start(), f"`{name}` is no module of the checkout, nor defined in one"
        elif path.endswith(".md") and _TESTS.fullmatch(name) and not tree.has_tests(name):
            yield quoted.start(), f"`{name}` names no file of tests"


def _absent(text: str) -> Iterator[tuple[int, str]]:
    """Problems of pages that are not part of the repository."""
    for name in ABSENT:
        for found in re.finditer(rf"(?<![\w-]){re.escape(name)}", text):
            yield found.start(), f"{name} is not in the repository: state the rule"


def problems_of(tree: Tree, path: str) -> list[Problem]:
    """References of one file to targets that do not exist."""
    text = tree.read(path)
    found = [Problem(path, 1 + text.count("\n", 0, at), what) for at, what in _absent(text)]
    if path.endswith(".md"):
        found += [Problem(path, 1 + text.count("\n", 0, at), what) for at, what in _links(tree, path, text)]
    if path != _HISTORY:
        for line, passage in passages(path, text):
            wrong = [*_paths(tree, passage)]
            if path.endswith((".md", ".py")):
                wrong += _quoted(tree, path, passage)
            found += [Problem(path, line + passage.count("\n", 0, at), what) for at, what in wrong]
    return sorted(set(found))


def is_checked(path: str) -> bool:
    """Whether a file is checked: pages, code and configuration are."""
    name = path.rpartition("/")[2]
    return name in {"Makefile", "Dockerfile"} or name.endswith((".md", ".py")) or Path(name).suffix in _TEXTS


def check(folder: Path) -> list[Problem]:
    """All references of a checkout to targets that do not exist."""
    tree = Tree(folder)
    return [problem for path in sorted(tree.files) if is_checked(path) for problem in problems_of(tree, path)]


def main() -> int:
    """Print each problem; return 1 if there are any."""
    problems = check(CHECKOUT)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems) or "all links and references exist\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

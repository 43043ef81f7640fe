"""One-line mutations of safety-critical lines, each judged by the tests that guard the line.

It reads and checks the table (``table.toml``) and runs the tests in scratch copies of the checkout.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

CHECKOUT: Final = Path(__file__).resolve().parents[2]
TABLE: Final = Path(__file__).with_name("table.toml")
PROMISES: Final = tuple(range(1, 19))
"""The numbers of the promises in docs/architecture.md."""
TIMEOUT_S: Final = 120.0
"""Time limit for the tests of one mutant. The run without a mutation has ten times as long."""
GRACE_S: Final = 20.0

CAUGHT, SURVIVED, UNJUDGED = "caught", "survived", "not judged"

_LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", ".coverage*", "var", "__pycache__"
)
# A mutant that only makes the code fail to run shows nothing about the tests.
_BROKEN: Final = re.compile(
    r"^\S*(ImportError|ModuleNotFoundError|NameError|SyntaxError|IndentationError)\b|syntax error"
)
_mtimes: Final = count(int(time.time()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """Replaces ``old`` by ``new``. This breaks ``promises`` as described in ``breaks``; one of ``tests`` must fail.

    ``hangs``: a run that does not end in time also counts as caught.
    """

    name: str
    file: str
    old: str
    new: str
    promises: tuple[int, ...]
    breaks: str
    tests: tuple[str, ...]
    hangs: bool = False

    def mutated(self, root: Path) -> str:
        """The file's text with the mutation. Raises ValueError if the table does not fit the file."""
        text = (root / self.file).read_text(encoding="utf-8")
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"the old text occurs {times} times in {self.file}")
        mutated = text.replace(self.old, self.new)
        if mutated == text:
            raise ValueError("the new text is the old one")
        if self.file.endswith(".py"):
            try:
                compile(mutated, self.file, "exec", dont_inherit=True)
            except SyntaxError as error:
                raise ValueError(f"the new text does not parse: {error}") from None
        return mutated


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a mutant: ``by`` names the test that failed, or the problem."""

    mutant: Mutant
    verdict: str
    by: str
    took_s: float


def read_table(path: Path = TABLE) -> list[Mutant]:
    """The mutants of the table. Raises TypeError or ValueError if one is incomplete."""
    tables: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**one | {"promises": tuple(one["promises"]), "tests": tuple(one["tests"])}) for one in tables]


def problems(mutants: Sequence[Mutant], root: Path, promises: Iterable[int] = PROMISES) -> Iterator[str]:
    """Mismatches between table and checkout, one line each. It only reads files, so it is fast."""
    names: set[str] = set()
    results: set[tuple[str, str]] = set()
    for mutant in mutants:
        found = []
        try:
            result = (mutant.file, mutant.mutated(root))
            found += ["another mutant is the same"] if result in results else []
            results.add(result)
        except (ValueError, OSError) as error:
            found.append(str(error))
        found += ["the name is taken"] if mutant.name in names else []
        names.add(mutant.name)
        found += [f"{test} does not exist" for test in mutant.tests if not _exists(test, root)]
        found += [f"there is no promise {number}" for number in mutant.promises if number not in promises]
        found += [] if mutant.tests and mutant.promises and mutant.breaks else ["tests, promises or breaks is empty"]
        yield from (f"{mutant.name}: {each}" for each in found)
    covered = {number for mutant in mutants for number in mutant.promises}
    yield from (f"no mutant guards promise {number}" for number in promises if number not in covered)


def _exists(test: str, root: Path) -> bool:
    path, *names = test.partition("[")[0].split("::")
    file = root / path
    if not file.exists():
        return False
    text = file.read_text(encoding="utf-8") if names else ""
    return all(re.search(rf"^\s*(def|class) {re.escape(name)}\b", text, re.MULTILINE) for name in names)


def run_tests(root: Path, tests: Sequence[str], *options: str, timeout_s: float) -> tuple[str, str]:
    """Run ``tests`` in ``root``: ``passed``, ``failed`` with the first test's id, ``hung``, or ``broken`` and why."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        # No test here needs these plugins, and loading them takes longer than most of these tests.
        environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        plugins = ("-p", "_hypothesis_pytestplugin", "-p", "xdist", "-p", "no:cacheprovider")
        fixed = ("-q", *plugins, "--hypothesis-seed=0", f"--junitxml={report}")
        with Path(folder, "output").open("w+", encoding="utf-8", errors="replace") as output:
            command = [sys.executable, "-m", "pytest", *fixed, *options, *tests]
            process = subprocess.Popen(command, cwd=root, env=environ, stdout=output, stderr=output)
            try:
                status = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # on SIGINT the fixtures end the processes that they started
                try:
                    process.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                return "hung", f"no end after {timeout_s:g} s"
            output.seek(0)
            last = (output.read().strip().splitlines() or ["no output"])[-1]
        if status not in {0, 1} or not report.exists():
            return "broken", last
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - pytest's own report
        if status == 0:
            skipped = [case.get("name", "") for case in cases if case.find("skipped") is not None]
            return ("broken", f"skipped: {', '.join(skipped)}") if skipped or not cases else ("passed", last)
        failures = [(case, failure.get("message", "")) for case in cases for failure in case.findall("failure")]
        genuine = [_node_id(case) for case, message in failures if not _BROKEN.search(message)]
        return ("failed", genuine[0]) if genuine else ("broken", failures[0][1] if failures else last)


def _node_id(case: ET.Element) -> str:
    return f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}"


def judge(mutant: Mutant, root: Path, timeout_s: float = TIMEOUT_S) -> Result:
    """Mutate the copy at ``root``, run the tests that guard the line, and undo the mutation."""
    path, began = root / mutant.file, time.monotonic()
    original = path.read_text(encoding="utf-8")
    _write(path, mutant.mutated(root))
    try:
        came_to, by = run_tests(root, mutant.tests, "-x", timeout_s=timeout_s)
    finally:
        _write(path, original)
    verdict = {"passed": SURVIVED, "failed": CAUGHT, "hung": CAUGHT if mutant.hangs else UNJUDGED}.get(
        came_to, UNJUDGED
    )
    return Result(mutant, verdict, by, time.monotonic() - began)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    at = next(
        _mtimes
    )  # Python matches compiled files by size and time in whole seconds: two mutations need different times
    os.utime(path, (at, at))


@contextmanager
def scratch_copy(root: Path) -> Iterator[Path]:
    """A copy of the checkout without generated files."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(root, copy, ignore=_LEFT_OUT, symlinks=True)
        yield copy


def judge_all(mutants: Sequence[Mutant], root: Path, jobs: int) -> Iterator[Result]:
    """The results in the order of the table. Raises RuntimeError if the tests do not pass without a mutation."""
    with ExitStack() as stack, ThreadPoolExecutor(jobs) as threads:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for _ in range(min(jobs, len(mutants))):
            copies.put(stack.enter_context(scratch_copy(root)))
        tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
        copy = copies.get()
        came_to, what = run_tests(copy, tests, "-n", str(jobs), timeout_s=10 * TIMEOUT_S)
        copies.put(copy)
        if came_to != "passed":
            raise RuntimeError(f"the tests do not pass without a mutation: {came_to}, {what}")

        def one(mutant: Mutant) -> Result:
            copy = copies.get()
            try:
                return judge(mutant, copy)
            finally:
                copies.put(copy)

        try:
            yield from threads.map(one, mutants)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

"""docs/guide.md is correct: a shell runs its commands, and the answers match the page."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from api.problems import PROBLEMS
from domain.account import TRANSITIONS, Status
from tests.processes.installation import Installation, installed
from tests.processes.process import Process, wait_until
from tests.tooling.checkout import CHECKOUT, PATIENCE_S

PAGE: Final = (CHECKOUT / "docs/guide.md").read_text("utf-8")
GATEWAYS: Final = (CHECKOUT / "config/gateways.toml").read_text("utf-8")
SERVICE, SIMULATOR = "localhost:8080", "localhost:8090"

BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
START: Final = re.compile(r"((?:[^\n]+\n)*?)((?:\w+=\S+ )*)make run\n")
COPIED: Final = re.compile(r"^(\w+)=[^\n]*…$", re.MULTILINE)
ANSWER: Final = re.compile(
    r"^HTTP/1\.1 (\d{3}) [^\n]*\n((?:[^\n]+\n)*)\n(.*?)(?=^HTTP/1\.1 |\Z)", re.MULTILINE | re.DOTALL
)
ASIDE: Final = "…"
"""In an answer on the page: any characters in a text, or further members at the end of an object or a list."""


class Answer(NamedTuple):
    """An answer in the form of ``curl -i``, printed or on the page."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Step:
    """Commands of the page, and its answer to the last one."""

    line: int
    commands: str
    shown: list[str] = field(default_factory=list)


def steps() -> list[Step]:
    """The page's commands in order."""
    found: list[Step] = []
    for block in BLOCK.finditer(PAGE):
        kind, text = block.groups()
        if kind == "bash":
            found.append(Step(PAGE.count("\n", 0, block.start()) + 2, text))
        elif kind == "http":
            found[-1].shown.append(text)
    return found


def as_json(shown: str) -> Any:
    """A body on the page as JSON; an omission at the end of an object or a list becomes ASIDE."""

    def quoted(match: re.Match[str]) -> str:
        text, closing = match.groups()
        return text or (f'"{ASIDE}": 0{closing}' if closing == "}" else f'"{ASIDE}"{closing}')

    return json.loads(re.sub(rf'("(?:[^"\\]|\\.)*")|{ASIDE}\s*([}}\]])', quoted, shown))


def answers(text: str, *, shown: bool = False) -> list[Answer]:
    """The answers in curl's output, or on the page."""
    found = []
    for status, head, body in ANSWER.findall(text):
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.splitlines())}
        found.append(Answer(int(status), headers, as_json(body) if shown else json.loads(body or "null")))
    return found


def expected(step: Step) -> Answer | None:
    """The answer on the page, if there is one."""
    if not step.shown:
        return None
    (text,) = step.shown
    (answer,) = answers(text, shown=True)
    return answer


def differences(shown: Any, said: Any, where: str = "body") -> Iterator[str]:
    """The places where an answer differs from the page."""
    if isinstance(shown, dict) and isinstance(said, dict):
        if ASIDE not in shown and said.keys() - shown.keys():
            yield f"{where}: {sorted(said.keys() - shown.keys())} not shown"
        for name in shown.keys() - {ASIDE}:
            if name in said:
                yield from differences(shown[name], said[name], f"{where}.{name}")
            else:
                yield f"{where}: no {name!r}"
    elif isinstance(shown, list) and isinstance(said, list):
        more = ASIDE in shown
        items = shown[:-1] if more else shown
        if len(said) < len(items) or (len(said) > len(items) and not more):
            yield f"{where}: {len(said)} items"
        for number, (one, other) in enumerate(zip(items, said, strict=False)):
            yield from differences(one, other, f"{where}[{number}]")
    elif not (is_like(shown, said) if isinstance(shown, str) and isinstance(said, str) else shown == said):
        yield f"{where}: {said!r}, shown {shown!r}"


def is_like(shown: str, said: str) -> bool:
    """Whether a text matches the one shown, with any characters for an omission."""
    return re.fullmatch(".*".join(map(re.escape, shown.split(ASIDE))), said, re.DOTALL) is not None


def found_in(body: Any, name: str) -> Iterator[str]:
    """The values of all fields with this name."""
    if isinstance(body, dict):
        for key, value in body.items():
            if key == name:
                yield value
            yield from found_in(value, name)
    elif isinstance(body, list):
        for each in body:
            yield from found_in(each, name)


class Reader:
    """Follows the page in two terminals: one runs the service, the other a shell."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        text = GATEWAYS.replace("127.0.0.1:8090", f"127.0.0.1:{installation.simulator_port}")
        (installation.folder / "gateways.toml").write_text(text, "utf-8")
        self._variables = installation.folder / "variables"
        self._variables.touch()
        self._dev: Process | None = None
        self._last = Answer(0, {}, None)

    def follow(self, step: Step) -> None:
        """Run a step of the page and compare the answer."""
        start = START.fullmatch(step.commands)
        if start is not None:
            self._run(start[1])
            self._start(dict(word.split("=", 1) for word in self._here(start[2]).split()))
            return
        commands = COPIED.sub(self._copied, step.commands)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            got = self._run(commands)
            wrong = [*self._wrong(step, got)]
            # A transaction takes time to complete, so reads are repeated. Commands are sent once.
            if not wrong or "-X POST" in commands or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        assert wrong == [], f"docs/guide.md, line {step.line}: {got[-1:]}"
        self._last = got[-1]

    def _wrong(self, step: Step, got: list[Answer]) -> Iterator[str]:
        shown = expected(step)
        if shown is not None:
            *got, last = got
            yield from differences(shown.status, last.status, "status")
            yield from differences({**shown.headers, ASIDE: ""}, last.headers, "headers")
            yield from differences(shown.body, last.body)
        for answer in got:
            if answer.status >= 400:
                yield f"{answer}, which the page does not show"

    def _copied(self, line: re.Match[str]) -> str:
        *_, value = found_in(self._last.body, line[1])
        return f"{line[1]}={shlex.quote(value)}"

    def _here(self, commands: str) -> str:
        """Commands of the page with the addresses and the folder of this test."""
        where = self._installation
        for address, port in ((SERVICE, where.port), (SIMULATOR, where.simulator_port)):
            commands = commands.replace(address, f"localhost:{port}")
        return commands.replace("/tmp/", f"{where.folder}/")  # noqa: S108

    def _run(self, commands: str) -> list[Answer]:
        script = f"set -ae\n. {self._variables}\n{self._here(commands)}\nexport -p > {self._variables}\n"
        ended = subprocess.run(
            ["/bin/sh", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert ended.returncode == 0, ended.stderr
        # curl keeps line ends. After a body without a final line end, the next answer begins on the same line.
        printed = re.sub(r"(?<!^)(?=HTTP/1\.1 \d{3} )", "\n", ended.stdout.replace("\r\n", "\n"))
        return answers(printed)

    def _start(self, settings: dict[str, str]) -> None:
        if self._dev is not None:
            self._dev.send(signal.SIGINT)  # Ctrl-C
            assert self._dev.wait() == 0
        self._dev = dev = self._installation.manage("dev", **settings)
        wait_until(lambda: dev.ended or "Ctrl-C ends all of it" in dev.out, "dev has printed its instructions")
        assert not dev.ended, dev.logs


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="the page needs curl and openssl")
def test_the_page(tmp_path: Path) -> None:
    """From the first command to the last one, each answer has the status and the fields that the page shows."""
    with installed(tmp_path) as installation:
        reader = Reader(installation)
        for step in steps():
            reader.follow(step)


def test_every_block_is_followed() -> None:
    """The test above skips no block of the page, and most commands have an answer."""
    assert {block[1] for block in BLOCK.finditer(PAGE)} == {"bash", "http", "mermaid"}
    assert PAGE.count("```") == 2 * len(BLOCK.findall(PAGE))
    unanswered = [step.commands for step in steps() if not step.shown]
    assert [text for text in unanswered if "make run" not in text and "/faults" not in text] == []
    assert all(step.commands.count("curl") == step.commands.count("curl -i") for step in steps())


def test_the_picture_is_the_state_machine() -> None:
    """The arrows of the picture match the domain's transitions, and each status has a row."""
    (picture,) = (block[2] for block in BLOCK.finditer(PAGE) if block[1] == "mermaid")
    arrows = set(re.findall(r"^ +(\S+) --> (\S+)$", picture, re.MULTILINE))
    transitions = {(status.value, to.value) for status, following in TRANSITIONS.items() for to in following}
    ends = {(status.value, "[*]") for status in Status if status.terminal}
    assert arrows == {("[*]", "pending"), *transitions, *ends}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == {status.value for status in Status}


def test_every_error_has_its_row() -> None:
    """The table lists exactly the API's errors, each under its status."""
    rows = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \| \S", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((str(problem.status), name) for name, problem in PROBLEMS.items())


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ('{"a": 1}', {"a": 2}),
        ('{"a": 1}', {"a": 1, "b": 2}),
        ('{"a": 1, …}', {"b": 2}),
        ('{"a": "x…"}', {"a": "y"}),
        ('{"a": "x…"}', {"a": None}),
        ('{"a": [1]}', {"a": [1, 2]}),
        ('{"a": [1, …]}', {"a": []}),
        ('{"a": [{"b": "1", …}, …]}', {"a": [{"b": "2"}]}),
        ('{"a": "…, …}"}', {"a": "b"}),
    ],
)
def test_a_difference_is_reported(shown: str, said: Any) -> None:
    """Any difference from the shown part of an answer is reported."""
    assert [*differences(as_json(shown), said)] != []


def test_what_is_left_out_may_be_anything() -> None:
    """The dots match any rest of a text, of an object and of a list."""
    shown = as_json('{"id": "01a2…", "items": [{"a": "…", …}, …], …}')
    assert [*differences(shown, {"id": "01a2-7", "items": [{"a": "", "b": 2}, 3, 4], "more": None})] == []

"""Log lines: one JSON object each for any record; on a console, control characters are escaped."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

import pytest

from config.logging import ConsoleFormatter, InfoLines, JsonFormatter, LineHandler
from config.redaction import Redaction
from config.settings import CHECKOUT
from domain import cards

REDACTION = Redaction(cards)


@pytest.fixture
def pipe() -> Iterator[tuple[BufferedReader, int]]:
    """The two ends of a pipe in place of standard output."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader:
        yield reader, write_end
        os.close(write_end)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger of customer actors, which passes no records to other handlers during the test."""
    logger = logging.getLogger("actors.customer.actor")
    logger.setLevel("INFO")
    logger.propagate = False
    yield logger
    logger.handlers.clear()
    logger.setLevel("NOTSET")
    logger.propagate = True


def log_json(logger: logging.Logger, pipe: tuple[BufferedReader, int]) -> BufferedReader:
    """Send the logger's records to the pipe as JSON."""
    handler = LineHandler(pipe[1])
    handler.setFormatter(JsonFormatter(REDACTION))
    logger.addHandler(handler)
    return pipe[0]


def test_a_line(logger: logging.Logger, pipe: tuple[BufferedReader, int]) -> None:
    """A record is one JSON object with its own keys first and the fields after them, in their order."""
    lines = log_json(logger, pipe)
    logger.info("deposit %s", "received", extra={"fields": {"transaction_id": "t-1", "amount": "1.00", "attempt": 2}})
    line = lines.readline()
    found = json.loads(line)
    assert list(found) == ["time", "level", "logger", "message", "transaction_id", "amount", "attempt"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found.pop("time"))
    assert found == {
        "level": "INFO",
        "logger": "actors.customer.actor",
        "message": "deposit received",
        "transaction_id": "t-1",
        "amount": "1.00",
        "attempt": 2,
    }


@pytest.mark.parametrize(
    ("created", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1_792_000_000.5, "2026-10-14T17:46:40.500000Z"),
        (1_792_000_000.000001, "2026-10-14T17:46:40.000001Z"),
        (1_792_000_001.999999, "2026-10-14T17:46:41.999999Z"),
    ],
)
def test_times(created: float, text: str) -> None:
    """Times are RFC 3339 in UTC and always have six decimals."""
    record = logging.makeLogRecord({"msg": "x", "created": created})
    assert json.loads(JsonFormatter(REDACTION).format(record))["time"] == text


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"message": "x", "time": 1}, {"field_message": "x", "field_time": 1}),
        ({"error": ValueError("no")}, {"error": "no"}),
        ({"huge": 2**70, "a": "b"}, {"huge": str(2**70), "a": "b"}),
        ({"half": "\ud800"}, {"half": "\ud800"}),
        ({1: "one"}, {"1": "one"}),
        ({"nothing": None, "yes": True}, {"nothing": None, "yes": True}),
        ({"forged": '"}\n{"level": "INFO"'}, {"forged": '"}\n{"level": "INFO"'}),
    ],
)
def test_unusual_fields(
    logger: logging.Logger, pipe: tuple[BufferedReader, int], fields: dict[object, object], found: dict[str, object]
) -> None:
    """Any record is one line of valid JSON, and no field hides one of its own keys."""
    lines = log_json(logger, pipe)
    logger.warning("x", extra={"fields": fields})
    line = json.loads(lines.readline())
    assert line.pop("message") == "x"
    assert line.pop("level") == "WARNING"
    del line["time"], line["logger"]
    assert line == found


@contextmanager
def json_only(pipe: tuple[BufferedReader, int]) -> Iterator[BufferedReader]:
    """A process that logs JSON: the root logger's only handler writes to the pipe."""
    handler = LineHandler(pipe[1])
    handler.setFormatter(JsonFormatter(REDACTION))
    # in the test itself: pytest adds its own handlers before it
    before, logging.root.handlers = logging.root.handlers, [handler]
    try:
        yield pipe[0]
    finally:
        logging.root.handlers = before


@pytest.fixture
def payments() -> Iterator[logging.Logger]:
    """The logger of the transactions' steps, at INFO."""
    logger = logging.getLogger("payments")
    logger.setLevel("INFO")
    yield logger
    logger.setLevel("NOTSET")


AWKWARD: list[tuple[str, dict[str, object]]] = [
    ("DepositReceived", {"transaction_id": "t-1", "version": 1, "category": None}),
    ("100 %s of \x1b", {"message": "x", "error": ValueError("no")}),
    ("huge", {"huge": 2**70, "half": "\ud800", "forged": '"}\n{"level": "INFO"'}),
]


def test_many_lines_at_once_are_the_lines_of_the_logger(
    pipe: tuple[BufferedReader, int], payments: logging.Logger
) -> None:
    """Lines without records equal lines from records byte for byte, except for the time, in the same order."""
    with json_only(pipe) as written:
        InfoLines("payments").write(AWKWARD)
        for message, fields in AWKWARD:
            payments.info(message, extra={"fields": fields})
        lines = [re.sub(rb'"time": ?"[^"]+"', b"", written.readline()) for _ in range(2 * len(AWKWARD))]
    assert lines[: len(AWKWARD)] == lines[len(AWKWARD) :]


@pytest.mark.usefixtures("payments")
def test_many_lines_at_once_are_one_write(pipe: tuple[BufferedReader, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that belong together cost one system call, but never more than a pipe accepts without mixing them."""
    writes: list[bytes] = []

    def write(_descriptor: int, data: bytes) -> int:
        writes.append(bytes(data))
        return len(data)

    monkeypatch.setattr(os, "write", write)
    with json_only(pipe):
        InfoLines("payments").write([("Processed", {"n": 1}), ("Completed", {"n": 2})])
        assert [data.count(b"\n") for data in writes] == [2]
        writes.clear()
        InfoLines("payments").write([("Processed", {"text": "x" * 1_000}) for _ in range(10)])
    assert all(data.endswith(b"\n") and len(data) <= select.PIPE_BUF for data in writes)
    assert [data.count(b"\n") for data in writes] == [3, 3, 3, 1]


@pytest.mark.usefixtures("payments")
def test_one_line_longer_than_a_pipe_takes_at_once(pipe: tuple[BufferedReader, int]) -> None:
    """A line that is longer than one write to a pipe is written whole, after the earlier lines."""
    with json_only(pipe) as written:
        InfoLines("payments").write([("short", {}), ("long", {"text": "x" * select.PIPE_BUF})])
        found = [json.loads(written.readline()) for _ in range(2)]
    assert [line["message"] for line in found] == ["short", "long"]
    assert len(found[1]["text"]) == select.PIPE_BUF


def test_lines_below_the_level_are_not_formatted(pipe: tuple[BufferedReader, int], payments: logging.Logger) -> None:
    """Above INFO nothing is written, and the lines are not formatted at all."""
    payments.setLevel("WARNING")
    lines = iter([("DepositReceived", {"n": 1})])
    with json_only(pipe) as written:
        InfoLines("payments").write(lines)
        payments.warning("first")
        assert json.loads(written.readline())["message"] == "first"
    assert list(lines) == [("DepositReceived", {"n": 1})]


@pytest.mark.usefixtures("payments")
def test_a_line_that_cannot_be_formatted(pipe: tuple[BufferedReader, int], capsys: pytest.CaptureFixture[str]) -> None:
    """A record that cannot be formatted is reported on standard error.

    The others are logged, and no error is raised.
    """

    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

        __repr__ = __str__

    with json_only(pipe) as written:
        InfoLines("payments").write([("broken", {"field": Broken()}), ("next", {"n": 1})])
        assert json.loads(written.readline())["message"] == "next"
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.usefixtures("payments")
def test_other_handlers_receive_every_line(pipe: tuple[BufferedReader, int], caplog: pytest.LogCaptureFixture) -> None:
    """With another handler or format than one JSON handler, the lines are ordinary records."""
    with json_only(pipe) as written:
        logging.root.addHandler(caplog.handler)
        InfoLines("payments").write([("DepositReceived", {"n": 1})])
        assert json.loads(written.readline())["n"] == 1
    assert [record.getMessage() for record in caplog.records] == ["DepositReceived"]


def test_tracebacks(logger: logging.Logger, pipe: tuple[BufferedReader, int]) -> None:
    """An exception's traceback is a field of the line, not separate lines."""
    lines = log_json(logger, pipe)
    try:
        int("many")
    except ValueError:
        logger.exception("failed")
    line = json.loads(lines.readline())
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("invalid literal for int() with base 10: 'many'")


def test_a_reader_that_has_ended(logger: logging.Logger) -> None:
    """The program continues when the reader of the log is gone."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    handler = LineHandler(write_end)
    logger.addHandler(handler)
    logger.info("no reader")
    os.close(write_end)


def test_console() -> None:
    """The console shows level, logger, message and fields; control characters are escaped."""
    record = logging.makeLogRecord(
        {
            "name": "api",
            "levelname": "INFO",
            "msg": "red \x1b[31m",
            "fields": {"customer_id": "\x9b1", "reference": None, "attempt": 1},
        }
    )
    text = ConsoleFormatter(REDACTION).format(record)
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO {5}api: red \\x1b\[31m {2}customer_id=\\x9b1 {2}attempt=1", text)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_process(log_format: str) -> None:
    """A configured process writes one line per record to standard output, from its level on, and nothing else."""
    program = f"""
import logging
from config.logging import configure
from config.redaction import Redaction
from domain import cards
configure("INFO", {log_format!r}, Redaction(cards))
logging.getLogger("api").debug("unheard")
logging.getLogger("api").info("heard", extra={{"fields": {{"n": 1}}}})
logging.getLogger("pykka").info("too chatty")
logging.getLogger("gunicorn.error").warning("heard, too")
logging.getLogger("gunicorn.access").info("no access log")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, check=True, timeout=60)
    lines = done.stdout.decode().splitlines()
    assert done.stderr == b""
    assert [("heard" in line, "heard, too" in line) for line in lines] == [(True, False), (True, True)]
    if log_format == "json":
        assert [json.loads(line)["logger"] for line in lines] == ["api", "gunicorn.error"]

"""Format and destination of log lines: JSON for machines or text for people, one write per record.

A service writes through ``config.log_writer``, which never waits for the reader. Operator commands write directly.

This module reads no environment. The fields of a record are ``extra={"fields": {...}}``. The lines of every deposit go
through ``InfoLines`` without log records: a line costs one dictionary and one ``orjson.dumps``, and related lines share
one ``write``. Every line passes a ``Redaction``.
"""

from __future__ import annotations

import json
import logging
import logging.config
import os
import select
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from config.log_writer import buffered, write_all
from config.redaction import Redaction
from config.streams import redact_stderr

STDOUT: Final = 1
STDERR: Final = 2

_OWN_KEYS: Final = frozenset({"time", "level", "logger", "message", "exception", "stack"})
_OF_THE_CODE: Final = frozenset({"time", "level", "logger"})
"""Keys whose values never come from a client or provider."""
# Characters that a terminal interprets instead of showing: C0 without tab and newline, DEL and C1.
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


class LineHandler(logging.Handler):
    """Writes each record with one ``write`` to a file descriptor.

    One call writes one whole line, so lines of greenlets, threads and worker processes do not mix and no lock is
    needed. A line that cannot be written, for example to a closed pipe, is dropped: no payment fails because of its
    log. With ``buffer``, no write waits for the reader, and lines that do not fit are dropped as well.
    """

    def __init__(self, descriptor: int = STDOUT, *, buffer: bool = False) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._writer = buffered(descriptor) if buffer else None
        if self._writer is not None:
            self._writer.notice = self._lost

    def createLock(self) -> None:  # noqa: N802 - the name is the standard library's
        """No lock, as in ``logging.NullHandler``."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Format and write the record. The standard library reports a record that cannot be formatted on stderr."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 - logging's own rule: emit never raises
            self.handleError(record)
            return
        self.write(line)

    def write(self, lines: bytes) -> None:
        """Write whole lines.

        The lines of one write to a pipe, up to ``PIPE_BUF``, do not mix with other processes' lines.
        """
        if self._writer is None:
            write_all(self._descriptor, lines)
        else:
            self._writer.write(lines)

    def _lost(self, lines: int, since: float) -> bytes:
        """The line that reports lost lines. It is written at any log level."""
        about = {"lines": lines, "pid": os.getpid()}
        record = logging.makeLogRecord(
            {"name": __name__, "levelname": "WARNING", "msg": "log lines were lost", "created": since, "fields": about}
        )
        return self.format(record).encode("utf-8", "backslashreplace") + b"\n"


class JsonFormatter(logging.Formatter):
    """One JSON object: ``time`` (RFC 3339, UTC, microseconds), ``level``, ``logger``, ``message``, then the fields.

    A field with one of these names gets the prefix ``field_``. Every line passes ``redaction``.
    """

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self.redaction = redaction
        self._second: tuple[int, str] = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line = _line(self.time(record.created), record.levelname, record.name, record.getMessage())
        fields = getattr(record, "fields", None)
        if fields:
            line.update(_renamed(fields))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        written = _json(line)
        return (written if self.redaction.is_clean(written) else self.redacted(line)).decode()

    def redacted(self, line: dict[str, Any]) -> bytes:
        """``line`` as redacted JSON, for lines that did not pass the quick look."""
        fit = {key: value for key, value in line.items() if key in _OF_THE_CODE}
        return _json(fit | self.redaction.members({key: value for key, value in line.items() if key not in fit}))

    def time(self, created: float) -> str:
        """``created``, in seconds since 1970, in the format of lines."""
        second, micros = divmod(int(created * 1_000_000), 1_000_000)
        # The pair is replaced as a whole, so that another thread never combines one second with another second's text.
        cached, text = self._second
        if second != cached:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return f"{text}.{micros:06d}Z"


def _line(time_text: str, level: str, name: str, message: str) -> dict[str, Any]:
    return {"time": time_text, "level": level, "logger": name, "message": message}


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    if _OWN_KEYS.isdisjoint(fields):
        return fields
    return {f"field_{key}" if key in _OWN_KEYS else key: value for key, value in fields.items()}


def _json(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, default=str)
    except TypeError:
        # Lone surrogates, keys that are not texts, integers above 64 bits: rare, but still logged.
        texts = {str(key): value if isinstance(value, str) else repr(value) for key, value in line.items()}
        return json.dumps(texts).encode()


class InfoLines:
    """Many lines of one logger at INFO at once: the same lines as from its ``info``, without a record for each.

    With other handlers than one JSON ``LineHandler``, as in tests and on a console, each line is logged as usual.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def write(self, lines: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Log each message with its fields; ``lines`` is not read when INFO is disabled."""
        logger = self._logger
        if not logger.isEnabledFor(logging.INFO):
            return
        handler = self._only_listener()
        formatter = None if handler is None else handler.formatter
        if handler is None or not isinstance(formatter, JsonFormatter):
            for message, fields in lines:
                logger.info(message, extra={"fields": fields})
            return
        for texts in self._made(lines, formatter):
            handler.write(texts)

    def _made(self, lines: Iterable[tuple[str, dict[str, Any]]], formatter: JsonFormatter) -> Iterator[bytes]:
        """The lines in pieces that a pipe accepts in one write, as many in each as fit."""
        logger, now = self._logger, formatter.time(time.time())
        made: list[dict[str, Any]] = []
        texts: list[bytes] = []
        for message, fields in lines:
            try:
                line = _line(now, "INFO", logger.name, message) | _renamed(fields)
                texts.append(_json(line))
            except Exception:  # noqa: BLE001 - no payment fails because of its log: the handler reports the error
                logger.info(message, extra={"fields": fields})
                continue
            made.append(line)
        if not formatter.redaction.is_clean(b"\n".join(texts)):  # one search for all lines
            texts = [formatter.redacted(line) for line in made]
        piece = b""
        for text in texts:
            if piece and len(piece) + len(text) >= select.PIPE_BUF:
                yield piece
                piece = b""
            piece += text + b"\n"
        if piece:
            yield piece

    def _only_listener(self) -> LineHandler | None:
        """The root handler, if it is the only handler of this logger and handles all its lines."""
        logger, handlers = self._logger, logging.root.handlers
        if logger.handlers or logger.filters or not logger.propagate or len(handlers) != 1:
            return None
        handler = handlers[0]
        if isinstance(handler, LineHandler) and handler.level <= logging.INFO and not handler.filters:
            return handler
        return None


class ConsoleFormatter(logging.Formatter):
    """Local time, level, logger, message and ``key=value`` fields; control characters are escaped."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(name)s: %(message)s", "%H:%M:%S")
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the lines of a traceback."""
        text = super().format(record)
        return text if self._redaction.is_clean(text.encode("utf-8", "replace")) else self._redaction.text(text)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the standard library's
        """The line before any traceback."""
        fields: dict[str, object] = getattr(record, "fields", None) or {}
        words = (f"{key}={value}" for key, value in fields.items() if value is not None)
        return "  ".join((super().formatMessage(record), *words)).translate(_CONTROLS)


def dict_config(
    level: str, log_format: str, redaction: Redaction, descriptor: int = STDOUT, *, buffer: bool = False
) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig``: everything, gunicorn included, goes to ``descriptor``.

    ``log_format`` is ``json`` or ``console``, ``buffer`` as for ``LineHandler``. There is no access log: the
    lines of each transaction are more detailed.
    """
    formatter = {"json": JsonFormatter, "console": ConsoleFormatter}[log_format]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter, "redaction": redaction}},
        "handlers": {
            "lines": {"()": LineHandler, "descriptor": descriptor, "buffer": buffer, "formatter": "line"},
        },
        "root": {"level": level, "handlers": ["lines"]},
        "loggers": {
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
            # Pykka logs the traceback of every exception that an ask returns, at INFO.
            "pykka": {"level": "WARNING"},
        },
    }


def skip_unused_details() -> None:
    """Skip the search for each record's caller, thread and process, which no format shows.

    From "Optimization" in the standard library's logging how-to. It applies to the whole process.
    """
    logging._srcfile = None  # noqa: SLF001 - the how-to names this variable
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False


def configure(
    level: str, log_format: str, redaction: Redaction, descriptor: int = STDOUT, *, buffer: bool = False
) -> None:
    """Set up logging for a process that gunicorn does not start; ``buffer`` as for ``LineHandler``."""
    skip_unused_details()
    redact_stderr(redaction)  # without a buffer, because a command may end with os._exit
    logging.config.dictConfig(dict_config(level, log_format, redaction, descriptor, buffer=buffer))

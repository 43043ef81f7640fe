"""HTTP client of a running service: API key, total deadline, complete lists, and the meaning of each failure.

It implements the conventions of the API (lists, problems), not its routes. It follows no redirects, because the key is
for the configured service only.
"""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any, Final
from urllib.parse import quote, urlencode

from cli.command import CommandError, Exit, remark
from cli.responses import is_problem, is_success, meaning_of_a_read, meaning_of_failure
from cli.text import printable
from config.client import ClientSettings

Json = dict[str, Any]
"""A JSON object of the API."""

PAGE_MAX: Final = 200
_ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024


class Client:
    """Calls the service of ``settings``; ``timeout_s`` is the total time per request. For the main thread only."""

    def __init__(self, settings: ClientSettings, *, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self.has_sent = False
        """Whether a command was carried out. After that, a failure does not mean that nothing happened."""

    def get(self, *path: str, members: Sequence[str] = (), **query: object) -> Json:
        """Get the object with ``members`` at ``/v1/`` and these parts of a path. None is omitted from ``query``.

        Raises CommandError: UNREACHABLE when there is no answer now, FAILED when the service refuses.
        """
        status, media_type, raw = self._exchange("GET", _target(path, query), None, {})
        answer = _parsed(media_type, raw)
        if is_success(status, answer, members):
            found: Json = answer
            return found
        raise self._failure(status, media_type, answer, meaning_of_a_read(status))

    def send(
        self,
        *path: str,
        members: Sequence[str],
        how_to_check: str,
        body: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> Json:
        """POST ``body``, under an idempotency key if one is given. The answer is an object with ``members``.

        ``how_to_check`` describes to the operator how to find out whether the command was carried out.

        Raises CommandError: UNREACHABLE and FAILED when it was surely not carried out, UNKNOWN when that is unknown.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        advice = f"the command may have been carried out. {how_to_check}"
        try:
            status, media_type, raw = self._exchange("POST", _target(path, {}), body or {}, headers)
        except KeyboardInterrupt:
            remark(f"interrupted: {advice}")
            raise
        except CommandError as error:
            raise _with_advice(error, advice) from error
        answer = _parsed(media_type, raw)
        if not is_success(status, answer, members):
            failure = self._failure(status, media_type, answer, meaning_of_failure(status, media_type, answer))
            raise _with_advice(failure, advice)
        self.has_sent = True
        it: Json = answer
        return it

    def pages(self, *path: str, at_most: int | None, **query: object) -> Iterator[tuple[Sequence[Json], bool]]:
        """Get a list page by page, up to ``at_most`` items (None: all), and whether more follow."""
        left, cursor = at_most, None
        while True:
            limit = PAGE_MAX if left is None else min(left, PAGE_MAX)
            page = self.get(*path, members=("items", "next_cursor"), **query, limit=limit, cursor=cursor)
            items, cursor = page["items"], page["next_cursor"]
            yield items, cursor is not None
            left = None if left is None else left - len(items)
            if cursor is None or left == 0:
                return

    def _failure(self, status: int, media_type: str, answer: Any, meaning: Exit) -> CommandError:  # noqa: ANN401  # JSON
        if is_problem(answer):
            problem = str(answer.get("type", "")).removeprefix("/problems/")
            return CommandError(problem_line(status, answer), meaning, problem)
        received = f"status {status}, {media_type or 'no type'}"
        return CommandError(f"{self._settings} does not answer as the payment service: {printable(received)}", meaning)

    def _exchange(self, method: str, target: str, body: object, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        sent = False
        try:
            with closing(self._connection()) as connection, _within(self._timeout_s):
                connection.connect()
                sent = True
                data = None if body is None else json.dumps(body)
                connection.request(method, self._settings.prefix + target, data, {**self._headers(data), **headers})
                response = connection.getresponse()
                raw = response.read(_ANSWER_MAX_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            reason = printable(str(error) or type(error).__name__)
            if sent and method != "GET":
                raise CommandError(f"no answer from {self._settings}: {reason}", Exit.UNKNOWN) from error
            raise CommandError(f"{self._settings} cannot be reached: {reason}", Exit.UNREACHABLE) from error
        if len(raw) > _ANSWER_MAX_BYTES:
            meaning = Exit.UNREACHABLE if method == "GET" else Exit.UNKNOWN
            raise CommandError(f"the answer of {self._settings} is too large", meaning)
        media_type = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        return response.status, media_type, raw

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._settings.https else http.client.HTTPConnection
        return kind(self._settings.host, self._settings.port, timeout=self._timeout_s)

    def _headers(self, data: str | None) -> dict[str, str]:
        key = self._settings.api_key
        return {
            "Accept": "application/json, application/problem+json",
            **({} if data is None else {"Content-Type": "application/json"}),
            **({} if key is None else {"Authorization": f"Bearer {key}"}),
        }


def problem_line(status: int, problem: Mapping[str, Any]) -> str:
    """A problem document as one line: status, detail, and each field with its errors."""
    errors = problem.get("errors")
    fields = errors.items() if isinstance(errors, dict) else ()
    wrong = [f"{name}: {' '.join(map(str, text)) if isinstance(text, list) else text}" for name, text in fields]
    return printable(" ".join([f"{status} {problem['detail']}", *wrong]))


def _parsed(media_type: str, raw: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """The JSON value in ``raw``; None for anything else."""
    if not media_type.endswith("json"):
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _with_advice(error: CommandError, advice: str) -> CommandError:
    """``error``, with advice for a command that may have been carried out."""
    if error.status is not Exit.UNKNOWN:
        return error
    return CommandError(
        f"{error} That is, {advice}" if str(error).endswith(".") else f"{error}: {advice}", error.status
    )


def _target(path: Sequence[str], query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    where = "/".join(("/v1", *(quote(part, safe="") for part in path)))
    return f"{where}?{urlencode(given)}" if given else where


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after ``seconds``. A socket's own timeout restarts with each byte."""

    def end(_signum: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

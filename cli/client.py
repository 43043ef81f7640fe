"""Asks a running service over HTTP: a key, a total deadline, whole lists, and what each way of failing means.

It knows the conventions of the API (lists, problems) and none of its routes. Redirects are not followed: the key is for
the service that was named.
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

from cli.command import CommandError, Exit
from cli.text import printable
from config.client import ClientSettings

Json = dict[str, Any]
"""An object as the API gives it."""

PAGE_MAX: Final = 200
_ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024
_LATER: Final = frozenset({429, 503})


class Client:
    """Asks the service that ``settings`` name; each question has ``timeout_s`` in all. For the main thread alone."""

    def __init__(self, settings: ClientSettings, *, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self.has_ordered = False
        """Whether an order was carried out: from then on no failure means that nothing happened."""

    def get(self, *path: str, **query: object) -> Json:
        """What stands under ``/v1/`` and these parts of a path; what is None in ``query`` is left out.

        Raises CommandError: UNREACHABLE when there is no answer now, FAILED when the service refuses.
        """
        return self._ask("GET", _target(path, query), None)

    def order(self, *path: str, body: Mapping[str, object] | None = None, key: str | None = None) -> Json:
        """POST ``body`` there, under an idempotency key if one is given.

        Raises CommandError: UNREACHABLE when it surely was not carried out, UNKNOWN when nobody can tell, FAILED.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        it = self._ask("POST", _target(path, {}), body or {}, headers)
        self.has_ordered = True
        return it

    def pages(self, *path: str, at_most: int | None, **query: object) -> Iterator[tuple[Sequence[Json], bool]]:
        """A list page by page until ``at_most`` items (None: all of it), and whether more follow."""
        left, cursor = at_most, None
        while True:
            limit = PAGE_MAX if left is None else min(left, PAGE_MAX)
            page = self.get(*path, **query, limit=limit, cursor=cursor)
            items, cursor = page["items"], page["next_cursor"]
            yield items, cursor is not None
            left = None if left is None else left - len(items)
            if cursor is None or left == 0:
                return

    def _ask(self, method: str, target: str, body: object, headers: Mapping[str, str] | None = None) -> Json:
        status, content_type, raw = self._exchange(method, target, body, headers or {})
        answer: Any = None
        if content_type.partition(";")[0].strip().endswith("json"):
            try:
                answer = json.loads(raw)
            except (ValueError, RecursionError):
                answer = None
        if 200 <= status < 300 and isinstance(answer, dict):
            return answer
        kind = _meaning(method, status)
        if not isinstance(answer, dict) or "detail" not in answer:
            what = f"status {status}, {content_type or 'no type'}"
            raise CommandError(f"{self._settings} does not answer as the payment service: {printable(what)}", kind)
        problem = str(answer.get("type", "")).removeprefix("/problems/")
        raise CommandError(problem_line(status, answer), kind, problem)

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
                text = f"no answer from {self._settings}, and the order may have been carried out: {reason}"
                raise CommandError(text, Exit.UNKNOWN) from error
            raise CommandError(f"{self._settings} cannot be reached: {reason}", Exit.UNREACHABLE) from error
        if len(raw) > _ANSWER_MAX_BYTES:
            raise CommandError(f"the answer of {self._settings} is too large", _meaning(method, 500))
        return response.status, response.getheader("Content-Type") or "", raw

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
    """A problem document as one line: status, detail, and each field with what is wrong with it."""
    errors = problem.get("errors")
    fields = errors.items() if isinstance(errors, dict) else ()
    wrong = [f"{name}: {' '.join(map(str, said)) if isinstance(said, list) else said}" for name, said in fields]
    return printable(" ".join([f"{status} {problem['detail']}", *wrong]))


def _meaning(method: str, status: int) -> Exit:
    if status in _LATER:
        return Exit.UNREACHABLE
    if status < 300 and method != "GET":
        return Exit.UNKNOWN  # a proxy's word, or the service's through one that breaks it
    if status < 500:
        return Exit.FAILED
    return Exit.UNREACHABLE if method == "GET" else Exit.UNKNOWN


def _target(path: Sequence[str], query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    where = "/".join(("/v1", *(quote(part, safe="") for part in path)))
    return f"{where}?{urlencode(given)}" if given else where


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after ``seconds``: a socket's own timeout begins anew with each byte."""

    def end(_signum: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

"""A server in place of the service: it sends prepared answers in turn, and records the requests."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from api.problems import MEDIA_TYPE, PROBLEMS, by_status

Answer: TypeAlias = tuple[int, object] | tuple[int, object, str]


class Request(NamedTuple):
    """A request as received."""

    method: str
    target: str
    headers: dict[str, str]
    body: Any


class Peer:
    """Sends its answers in turn. An answer is a status and a JSON body; None closes the connection without an answer.

    Bytes as a body are sent unchanged, as HTML. A third member is the media type.
    """

    def __init__(self, answers: Sequence[Answer | None]) -> None:
        self.requests: list[Request] = []
        self.released = threading.Event()
        """Ends the connections of requests for which no answer is left."""
        peer, left = self, iter(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(raw) if raw else None
                peer.requests.append(Request(self.command, self.path, dict(self.headers.items()), body))
                prepared = next(left, (0, b""))
                if prepared is None:
                    return
                status, answer = prepared[:2]
                if status == 0:
                    peer.released.wait(30)
                    return
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                kind = (
                    prepared[2]
                    if len(prepared) == 3
                    else "text/html"
                    if isinstance(answer, bytes)
                    else "application/json"
                )
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer  # noqa: N815  # http.server's names

            def log_message(self, *_arguments: object) -> None:
                """Log nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """The URL at which it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def peer(*answers: Answer | None) -> Iterator[Peer]:
    """A peer that listens on loopback until the block ends."""
    it = Peer(list(answers))
    thread = threading.Thread(target=it.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield it
    finally:
        it.released.set()
        it.server.shutdown()
        it.server.server_close()
        thread.join()


def problem(status: int, detail: str, name: str | None = None, **more: object) -> Answer:
    """A problem document of the service as an answer; ``name`` selects one if several have the status."""
    kind = PROBLEMS[name] if name else next((it for it in PROBLEMS.values() if it.status == status), by_status(status))
    body = {"type": f"/problems/{kind.name}", "title": kind.title, "status": status, "detail": detail, **more}
    return status, body, MEDIA_TYPE


def listing(*items: object, cursor: str | None = None) -> tuple[int, object]:
    """A page of a list as an answer."""
    return 200, {"items": list(items), "next_cursor": cursor}

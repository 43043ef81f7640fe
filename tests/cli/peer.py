"""A service that answers what a test says, in turn, and keeps what it was asked."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from api.problems import MEDIA_TYPE, PROBLEMS, by_status

Said: TypeAlias = tuple[int, object] | tuple[int, object, str]


class Asked(NamedTuple):
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: Any


class Peer:
    """Answers in turn, each a status with a JSON body, or None: the connection is closed without an answer.

    A body of bytes goes out as it is, as text. A third member is the media type.
    """

    def __init__(self, answers: Sequence[Said | None]) -> None:
        self.asked: list[Asked] = []
        self.released = threading.Event()
        """Whoever is asked with no answer left holds the connection until then."""
        peer, left = self, iter(answers)

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(raw) if raw else None
                peer.asked.append(Asked(self.command, self.path, dict(self.headers.items()), body))
                said = next(left, (0, b""))
                if said is None:
                    return
                status, answer = said[:2]
                if status == 0:
                    peer.released.wait(30)
                    return
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                kind = said[2] if len(said) == 3 else "text/html" if isinstance(answer, bytes) else "application/json"
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer  # noqa: N815  # http.server's names

            def log_message(self, *_arguments: object) -> None:
                """Nobody reads it."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def peer(*answers: Said | None) -> Iterator[Peer]:
    """A peer that listens on loopback for as long as the block lasts."""
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


def problem(status: int, detail: str, name: str | None = None, **more: object) -> Said:
    """An answer that is a problem document of the service; ``name``: not the first of its status."""
    kind = PROBLEMS[name] if name else next((it for it in PROBLEMS.values() if it.status == status), by_status(status))
    body = {"type": f"/problems/{kind.name}", "title": kind.title, "status": status, "detail": detail, **more}
    return status, body, MEDIA_TYPE


def listing(*items: object, cursor: str | None = None) -> tuple[int, object]:
    """An answer that is a page."""
    return 200, {"items": list(items), "next_cursor": cursor}

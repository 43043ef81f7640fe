"""Sums of sampled stacks: by room, by line, and by function with its callees. No I/O.

A room is a group of packages. A sample belongs to the innermost frame that is in a room. Frames of the standard library
and of gevent's sockets are in no room, so their time belongs to their caller.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

WEB: Final = "falcon + gunicorn"
HUB: Final = "gevent hub"
STORE: Final = "store + drivers"
JSON: Final = "json"
LOGGING: Final = "logging"
OTHER: Final = "other"

_FRAME: Final = re.compile(r"(?P<function>.*) \((?P<file>[^()]*?)(?::(?P<line>\d+))?\)")
_LIBRARIES: Final = {
    "falcon": WEB,
    "gunicorn": WEB,
    "marshmallow": "marshmallow",
    "pykka": "actors + pykka",
    "pybreaker": "actors + pykka",
    "geventhttpclient": "gateways + HTTP client",
    "urllib3": "gateways + HTTP client",
    "psycopg": STORE,
    "psycopg_binary": STORE,
    "psycopg_pool": STORE,
    "gevent": HUB,
    "greenlet": HUB,
}
_OURS: Final = {
    "actors": "actors + pykka",
    "api": "api",
    "domain": "domain",
    "gateways": "gateways + HTTP client",
    "store": STORE,
}
_FILES: Final = {
    "config/logging.py": LOGGING,
    "actors/listeners.py": LOGGING,
    "domain/strict_json.py": JSON,
    "wsgi.py": OTHER,
}
_STANDARD: Final = {"json": JSON, "logging": LOGGING}
_SOCKETS: Final = frozenset({"_socketcommon.py", "_socket3.py"})


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in the code. ``file`` is relative to the checkout, the site-packages or the standard library."""

    function: str
    file: str
    line: int
    room: str | None
    ours: bool


@dataclass(slots=True)
class Summary:
    """Samples by room, by line and by function, and their total."""

    total: int = 0
    rooms: Counter[str] = field(default_factory=Counter)
    lines: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """By function, file and line of the frame that the sample belongs to."""
    functions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Our functions, with their callees."""


def frame_of(text: str, checkout: str) -> Frame:
    """Read a frame such as ``put (/srv/payments/actors/runtime/mailbox.py:60)``."""
    found = _FRAME.fullmatch(text)
    if found is None:
        return Frame(text, "", 0, None, ours=False)
    function, path, line = found["function"], found["file"], int(found["line"] or 0)
    _, in_packages, packaged = path.rpartition("/site-packages/")
    if in_packages:
        parts = packaged.split("/")
        room = None if parts[-1] in _SOCKETS else _LIBRARIES.get(parts[0], OTHER)
        return Frame(function, packaged, line, room, ours=False)
    if path.startswith(checkout + "/"):
        file = path.removeprefix(checkout + "/")
        return Frame(function, file, line, _FILES.get(file) or _OURS.get(file.split("/")[0], OTHER), ours=True)
    parts = path.split("/")
    return Frame(function, "/".join(parts[-2:]), line, _STANDARD.get(parts[-2] if len(parts) > 1 else ""), ours=False)


def summarise(folded: Iterable[str], thread: str, checkout: str) -> Summary:
    """Sum up lines such as ``thread (12);outer (a.py:1);inner (b.py:2) 34`` whose first frame is ``thread``."""
    summary = Summary()
    for line in folded:
        stack, _, count_text = line.rpartition(" ")
        names = stack.split(";")
        if names[0] != thread or not count_text.isdigit():
            continue
        count = int(count_text)
        frames = [frame_of(name, checkout) for name in names[1:]]
        summary.total += count
        inner = next((frame for frame in reversed(frames) if frame.room is not None), None)
        if inner is None or inner.room is None:
            summary.rooms[OTHER] += count
        else:
            summary.rooms[inner.room] += count
            summary.lines[inner.function, inner.file, inner.line] += count
        for function in {(frame.function, frame.file) for frame in frames if frame.ours}:
            summary.functions[function] += count
    return summary


def render(summary: Summary, us_per_deposit: float, top: int = 40) -> str:
    """The summary as text. ``us_per_deposit`` is the time of all samples together, per deposit."""
    total = max(1, summary.total)

    def row(count: int, *words: str) -> str:
        return f"{count / total:7.1%} {count / total * us_per_deposit:8.1f}  {'  '.join(words)}"

    lines = ["  share  us/dep.  room"]
    lines += [row(count, room) for room, count in summary.rooms.most_common()]
    lines += ["", "  share  us/dep.  line (with its callees outside of all rooms)"]
    lines += [
        row(count, f"{file}:{number}", function) for (function, file, number), count in summary.lines.most_common(top)
    ]
    lines += ["", "  share  us/dep.  our function, with its callees"]
    lines += [row(count, file, function) for (function, file), count in summary.functions.most_common(top)]
    return "\n".join(lines)

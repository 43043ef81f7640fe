"""Assignment of the profiler's samples to packages."""

from __future__ import annotations

import pytest

from bench import rooms
from bench.rooms import Frame, frame_of, render, summarise

PACKAGES = "/srv/venv/lib/python3.11/site-packages"
STANDARD = "/usr/lib/python3.11"
OUTER = f"thread (7);handle ({PACKAGES}/gunicorn/workers/base_async.py:88)"


@pytest.mark.parametrize(
    ("inner", "room"),
    [
        ("Mailbox.put (/srv/payments/actors/runtime/mailbox.py:60)", "actors + pykka"),
        ("load (/srv/payments/store/sqlite/reads.py:18)", rooms.STORE),
        ("emit (/srv/payments/config/logging.py:52)", rooms.LOGGING),
        ("recorded (/srv/payments/actors/listeners.py:52)", rooms.LOGGING),
        (f"info ({STANDARD}/logging/__init__.py:1489)", rooms.LOGGING),
        (f"raw_decode ({STANDARD}/json/decoder.py:353)", rooms.JSON),
        (f"Hub.run ({PACKAGES}/gevent/hub.py:647)", rooms.HUB),
        (f"_deserialize ({PACKAGES}/marshmallow/schema.py:597)", "marshmallow"),
        (f"SocketMixin.send ({PACKAGES}/gevent/_socketcommon.py:716)", rooms.WEB),
        (f"formatdate ({STANDARD}/email/utils.py:153)", rooms.WEB),
        ("__init__ (<string>:3)", rooms.WEB),
        (f"solve ({PACKAGES}/sudoku/solver.py:9)", rooms.OTHER),
    ],
)
def test_room(inner: str, room: str) -> None:
    """A sample belongs to the innermost frame in a package; the standard library and sockets count for their caller."""
    summary = summarise([f"{OUTER};{inner} 5"], "thread (7)", "/srv/payments")
    assert dict(summary.rooms) == {room: 5}


def test_thread() -> None:
    """Samples of other threads, and lines that are no samples, are ignored."""
    folded = [f"{OUTER} 2", "thread (8);f (a.py:1) 9", "process 7", ""]
    assert summarise(folded, "thread (7)", "/srv/payments").total == 2


def test_functions() -> None:
    """The time of a function of ours includes that of its calls, and counts once even when it calls itself."""
    ours = "load (/srv/payments/store/sqlite/reads.py:18)"
    summary = summarise([f"{OUTER};{ours};{ours} 4", f"{OUTER};{ours} 1"], "thread (7)", "/srv/payments")
    assert dict(summary.functions) == {("load", "store/sqlite/reads.py"): 5}


def test_frame() -> None:
    """A frame is assigned by its path from the root; an unreadable frame is in no package."""
    assert frame_of("load (/srv/payments/store/sqlite/reads.py:18)", "/srv/payments") == Frame(
        "load", "store/sqlite/reads.py", 18, rooms.STORE, ours=True
    )
    assert frame_of("odd", "/srv/payments").room is None


def test_page() -> None:
    """Each row has its share, also in microseconds per deposit."""
    summary = summarise(
        [f"{OUTER} 3", f"{OUTER};load (/srv/payments/store/reads.py:18) 1"], "thread (7)", "/srv/payments"
    )
    text = render(summary, 400.0)
    assert "  75.0%    300.0  falcon + gunicorn\n" in text
    assert "  25.0%    100.0  store/reads.py:18  load\n" in text

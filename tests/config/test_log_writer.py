"""The buffer between a process and its log: bounded, in order, with whole lines, and without waiting."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from config import log_writer
from config.log_writer import BufferedWriter, buffered
from config.settings import CHECKOUT

PATIENCE_S = 30.0


class Pipe:
    """A pipe whose buffer is full until something is read."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def fill(self) -> int:
        """Fill the buffer, and return the number of bytes."""
        os.set_blocking(self.write_end, False)
        filled = 0
        with suppress(BlockingIOError):
            while True:
                filled += os.write(self.write_end, b"x" * 4_096)
        os.set_blocking(self.write_end, True)
        return filled

    def read(self, size: int) -> bytes:
        """Read exactly ``size`` bytes."""
        found = b""
        while len(found) < size:
            found += os.read(self.read_end, size - len(found))
        return found

    def read_until(self, last: bytes) -> list[bytes]:
        """All lines up to and including ``last``."""
        found = b""
        while not found.endswith(last + b"\n"):
            found += os.read(self.read_end, 65_536)
        return found.splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """An empty pipe."""
    pipe = Pipe()
    yield pipe
    for end in (pipe.read_end, pipe.write_end):
        with suppress(OSError):
            os.close(end)


def numbered(number: int) -> bytes:
    """A line of 100 bytes."""
    return b"%-99d\n" % number


def test_lines_keep_their_order(pipe: Pipe) -> None:
    """The lines of one thread are read in order; nothing is lost while there is space."""
    writer = BufferedWriter(pipe.write_end)
    for number in range(500):
        writer.write(numbered(number))
    writer.write(b"end\n")
    lines = pipe.read_until(b"end")
    assert [int(line) for line in lines[:-1]] == [*range(500)]
    assert writer.lost == 0


def test_lines_that_do_not_fit_are_dropped_and_reported(pipe: Pipe) -> None:
    """A full buffer accepts nothing. The number of missing lines is reported at their place."""
    filled = pipe.fill()
    writer = BufferedWriter(pipe.write_end, bytes_max=1_000)
    for number in range(30):
        writer.write(numbered(number))
    assert writer.lost == 20
    pipe.read(filled)
    assert pipe.read(1_000) == b"".join(map(numbered, range(10)))
    assert pipe.read_until(b"20 log lines were lost")[-1] == b"20 log lines were lost"
    assert writer.flush(PATIENCE_S)
    writer.write(b"next\n")
    assert pipe.read_until(b"next") == [b"next"]
    assert writer.lost == 20


def test_each_loss_is_reported_at_its_place(pipe: Pipe) -> None:
    """A line that fits between two lines that do not is written between their reports."""
    filled = pipe.fill()
    writer = BufferedWriter(pipe.write_end, bytes_max=1_000)
    writer.write(numbered(1) * 9)
    for line in (b"long" * 50, b"short", b"long" * 50):
        writer.write(line + b"\n")
    pipe.read(filled + 900)
    assert writer.flush(PATIENCE_S)
    os.write(pipe.write_end, b"end\n")
    report = b"1 log lines were lost"
    assert pipe.read_until(b"end") == [report, b"short", report, b"end"]


def test_one_line_longer_than_the_buffer(pipe: Pipe) -> None:
    """An empty buffer accepts a line of any length, and writes it whole."""
    writer = BufferedWriter(pipe.write_end, bytes_max=100)
    writer.write(b"y" * 300_000 + b"\n")
    assert len(pipe.read(300_001)) == 300_001
    assert writer.lost == 0


def test_the_end_waits_a_bounded_time(pipe: Pipe) -> None:
    """A flush returns whether everything is written, and does not wait for a blocked reader."""
    filled = pipe.fill()
    writer = BufferedWriter(pipe.write_end)
    assert writer.flush(0.0), "nothing to write"
    writer.write(b"last\n")
    assert not writer.flush(0.01)
    pipe.read(filled)
    assert writer.flush(PATIENCE_S)
    assert pipe.read_until(b"last") == [b"last"]


def test_a_reader_that_has_gone(pipe: Pipe) -> None:
    """Lines without a reader are counted as lost, and no error is raised."""
    os.close(pipe.read_end)
    writer = BufferedWriter(pipe.write_end)
    for number in range(5):
        writer.write(numbered(number))
    assert writer.flush(PATIENCE_S)
    assert writer.lost == 5


def test_a_full_disk_breaks_no_line(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is reported when there is space again. The next line does not continue a cut one."""
    write, room = os.write, [4]

    def full(descriptor: int, data: bytes) -> int:
        if descriptor != pipe.write_end or room[0] < 0:
            return write(descriptor, data)
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count, room[0] = write(descriptor, data[: room[0]]), 0
        return count

    monkeypatch.setattr(os, "write", full)
    writer = BufferedWriter(pipe.write_end)
    writer.write(b"broken\n")
    assert writer.flush(PATIENCE_S)
    writer.write(b"lost\n")
    assert writer.flush(PATIENCE_S)
    assert writer.lost == 2
    room[0] = -1
    writer.write(b"whole\n")
    assert pipe.read_until(b"whole") == [b"brok", b"2 log lines were lost", b"whole"]


def test_a_descriptor_that_another_program_made_non_blocking(pipe: Pipe) -> None:
    """The writer waits for a full pipe and loses nothing.

    It does not change the mode, which other programs use as well.
    """
    filled = pipe.fill()
    os.set_blocking(pipe.write_end, False)
    writer = BufferedWriter(pipe.write_end)
    for number in range(3):
        writer.write(numbered(number))
    assert not writer.flush(0.05), "the write must wait"
    pipe.read(filled)
    writer.write(b"end\n")
    assert len(pipe.read_until(b"end")) == 4
    assert writer.lost == 0


def test_one_writer_for_one_target(pipe: Pipe) -> None:
    """Standard output and error that lead to the same pipe share a buffer, which keeps their order."""
    other = os.dup(pipe.write_end)
    try:
        assert buffered(other) is buffered(pipe.write_end)
        assert buffered(pipe.read_end) is buffered(pipe.write_end)
    finally:
        os.close(other)
        log_writer._writers.clear()


def test_many_threads(pipe: Pipe) -> None:
    """Lines of several threads are whole, none is lost or repeated, and those of each thread keep their order."""
    writer = BufferedWriter(pipe.write_end)

    def write(first: int) -> None:
        for number in range(first, first + 200):
            writer.write(numbered(number))

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 200, 400)]
    for thread in threads:
        thread.start()
    numbers = [int(line) for line in pipe.read(600 * 100).splitlines()]
    for thread in threads:
        thread.join()
    assert sorted(numbers) == [*range(600)]
    for first in (0, 200, 400):
        mine = [number for number in numbers if first <= number < first + 200]
        assert mine == sorted(mine)


FORKED = """
import os, sys
from config.log_writer import buffered, flush_all, lost_lines
writer = buffered(1)
for _ in range(20_000):
    writer.write(b"parent\\n")
child = os.fork()
writer.write(b"child\\n" if child == 0 else b"parent\\n")
flush_all() if child == 0 else os.waitpid(child, 0)
if child == 0:
    os._exit(lost_lines())
"""

GEVENT = """
import os
from gevent import monkey; monkey.patch_all()
import gevent
from config.log_writer import buffered
read_end, write_end = os.pipe()
writer = buffered(write_end)
writer.write(b"x" * 300_000 + b"\\n")  # more than a pipe takes
ticks = []
gevent.spawn(lambda: [gevent.sleep(0.001) or ticks.append(1) for _ in range(20)]).join()
print(len(ticks), writer.flush(0.01))
"""


def run(program: str) -> str:
    """The output of a Python program in the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, check=True, timeout=60, text=True
    )
    assert done.stderr == ""
    return done.stdout


def test_a_forked_child() -> None:
    """A child writes its own lines. The parent writes the lines of the parent."""
    lines = run(FORKED).splitlines()
    assert lines.count("parent") == 20_001
    assert lines.count("child") == 1


def test_greenlets_do_not_wait() -> None:
    """Under gevent the thread is one of the operating system: greenlets continue while a write waits for its reader.

    The end of the process has a time limit as well.
    """
    assert run(GEVENT) == "20 False\n"


STDERR = """
import sys
from config.streams import redact_stderr
from config.redaction import Redaction
from domain import cards
redact_stderr(Redaction(cards), buffer=True)
print("pgw_", end="", file=sys.stderr)
print("4111 1111 1111 1111", "half", end="", file=sys.stderr, flush=True)
print(" whole", file=sys.stderr)
raise ValueError("4111111111111111")
"""


def test_standard_error() -> None:
    """Output to standard error, tracebacks included, is redacted and written completely at the end of the process."""
    done = subprocess.run(
        [sys.executable, "-c", STDERR], cwd=CHECKOUT, capture_output=True, check=False, timeout=60, text=True
    )
    assert done.returncode == 1
    assert "half whole\n" in done.stderr
    assert done.stderr.endswith("ValueError: 411111******1111\n")
    assert "1111 1111" not in done.stderr

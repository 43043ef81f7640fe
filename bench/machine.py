"""The kernel's data about processes and the machine (Linux's /proc). Read-only."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_CORES: Final = 2


def use_two_cores() -> int:
    """Restrict this process and the processes that it starts to two cores; return the number of cores."""
    cores = sorted(os.sched_getaffinity(0))[:_CORES]
    os.sched_setaffinity(0, cores)
    return len(cores)


def cpu_s(pid: int) -> float:
    """Seconds of CPU time that the process has used in all of its threads."""
    return _cpu_s(Path(f"/proc/{pid}/stat"))


def thread_cpu_s(pid: int, thread: int) -> float:
    """Seconds of CPU time of one thread; the main thread's number is the process's."""
    return _cpu_s(Path(f"/proc/{pid}/task/{thread}/stat"))


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def resident_bytes(pid: int) -> int:
    """Memory that the process has in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def busy_s() -> float:
    """Seconds of CPU time that everything on this process's cores has used, including time stolen by other guests."""
    busy = 0
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in os.sched_getaffinity(0):
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            busy += user + nice + system + irq + softirq + steal
    return busy * _TICK_S


def sync_ms(folder: Path, times: int = 51) -> float:
    """Milliseconds to sync a page to the disk under ``folder``; the median."""
    page, took = os.urandom(4096), []
    path = folder / "sync"
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(page)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(took) * 1000


def file_system(folder: Path) -> str:
    """The kind of file system that ``folder`` is on."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    here = folder.resolve()
    holding = [(len(mount[1]), mount[2]) for mount in mounts if here.is_relative_to(mount[1])]
    return max(holding)[1] if holding else "unknown"


def processor() -> str:
    """The name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def accepted(port: int, pids: Iterable[int]) -> dict[int, int]:
    """The connections to ``port`` (IPv4) that the processes have accepted: the client's port and the process."""
    holders = {}
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                holders[str(descriptor.readlink())] = pid
    found = {}
    for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]:
        fields = line.split()
        here, there, inode = fields[1], fields[2], fields[9]
        if int(here.partition(":")[2], 16) == port and (holder := holders.get(f"socket:[{inode}]")) is not None:
            found[int(there.partition(":")[2], 16)] = holder
    return found

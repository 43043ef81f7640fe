"""Where a deposit spends its time: samples the service's worker under load with py-spy, which needs ptrace.

The samples are of one worker's main thread, where all greenlets run. The commit waits for the disk on a separate
thread, and this delays nothing but the commit. A sample measures elapsed time and not CPU time. On a busy machine a
system call during which another process runs appears more expensive than it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import machine, rooms, servers, setups
from bench.load import Load
from bench.setups import EMPTY, Conditions, for_figure

_RATE_PER_S: Final = 250
_STARTS_WITHIN_S: Final = 0.5


class ProfileError(Exception):
    """No profile was made; the text has the reason."""


def profile(figure: str, conditions: Conditions) -> str:
    """Load the service for ``conditions.seconds``; return where its worker spent the time. Raises ProfileError."""
    py_spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if py_spy is None:
        raise ProfileError("py-spy is not installed: pip install py-spy")
    conditions = for_figure(figure, conditions)
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name, ExitStack() as stack:
        server, load = _start(figure, conditions, stack)
        worker = server.workers[0]
        load.run(conditions.warm_up_s)
        output = Path(name) / "samples"
        with _sampler(py_spy, worker, conditions.seconds, output) as sampler:
            time.sleep(_STARTS_WITHIN_S)
            before_s = machine.thread_cpu_s(worker, worker)
            sample = load.run(conditions.seconds)
            used_s = machine.thread_cpu_s(worker, worker) - before_s
            _, errors = sampler.communicate()
        if sampler.returncode or not output.exists():
            raise ProfileError(f"py-spy: {errors.decode(errors='replace').strip()[-500:]}")
        folded = output.read_text(encoding="utf-8").splitlines()
        summary = rooms.summarise(folded, f"thread ({worker})", str(servers.CHECKOUT))
    # The clients' connections, and therefore the deposits, are evenly distributed.
    us_per_deposit = used_s * len(server.workers) / max(1, len(sample.accepted)) * 1_000_000
    title = (
        f"{figure} on {conditions.target.name}: {sample.rate:,.0f}/s while sampled, {us_per_deposit:,.0f} us of CPU"
        f" of a worker's main thread for a deposit, {summary.total} samples; log lines at INFO go to a file\n\n"
    )
    return title + rooms.render(summary, us_per_deposit) + "\n"


def _start(figure: str, conditions: Conditions, stack: ExitStack) -> tuple[servers.Server, Load]:
    connections = conditions.connections[figure]
    if figure == EMPTY:
        server = stack.enter_context(setups.empty_resource(conditions))
        requests = setups.requests_to(server, conditions)
        return server, Load(server.address, connections, requests, workers=server.workers)
    setup = stack.enter_context(setups.service(figure, conditions))
    requests = setups.requests_to(setup.server, conditions)
    return setup.server, setups.load_of(setup, figure, requests, connections, conditions)


def _sampler(py_spy: str, pid: int, seconds: float, output: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(py_spy, "record", "--format", "raw", "--full-filenames", "--threads"),
            *("--rate", str(_RATE_PER_S), "--duration", str(round(seconds)), "--output", str(output)),
            *("--pid", str(pid)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )

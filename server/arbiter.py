"""The gunicorn master of this service. On an embedded store no signal starts a second worker or ends the only one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter as GunicornArbiter

logger: Final = logging.getLogger("gunicorn.error")

WRONG_SETTING: Final = 2
"""The exit status for a wrong setting. gunicorn ends when a worker has it, because the next one would have it too."""
MASTERS_SIGNALS: Final = (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2)
"""Signals for the master. Workers ignore them, because a signal to a whole process group would end a worker."""
_CHECK_WITHIN_S: Final = 30.0


class Arbiter(GunicornArbiter):
    """The master; gunicorn.conf.py sets the class attributes before gunicorn makes the one instance."""

    APP_LOAD_ERROR = WRONG_SETTING
    single = True
    """Whether there may be only one worker, as on an embedded database."""
    check: Sequence[str] = ()
    """A command that fails, with a line on standard error, when a worker would not start."""
    folder = Path()
    """The folder in which ``check`` runs."""
    unshared: frozenset[str] = frozenset()
    """Variables of the workers that ``check`` must not see."""

    def __init__(self, app: BaseApplication) -> None:
        super().__init__(app)
        if Path(sys.argv[0]).name == "__main__.py":
            # python -m gunicorn: executed by its path, gunicorn's own folder would hide modules of Python.
            self.START_CTX["args"] = [sys.executable, "-m", "gunicorn", *sys.argv[1:]]

    def handle_ttin(self) -> None:
        """Add a worker, if there may be several."""
        if self.single:
            logger.warning("SIGTTIN is ignored: an embedded database has one worker")
        else:
            super().handle_ttin()

    def handle_usr2(self) -> None:
        """Start another master beside this one, if there may be several workers."""
        if self.single:
            logger.warning("SIGUSR2 is ignored: an embedded database has one worker; stop the service and start it")
        else:
            super().handle_usr2()

    def reexec(self) -> None:
        """Re-execute the program. A child that fails exits, because otherwise it would stop its parent's workers."""
        parent = os.getpid()
        try:
            super().reexec()
        except OSError:
            if os.getpid() != parent:
                logger.exception("the program cannot be executed again")
                os._exit(1)
            raise

    def handle_hup(self) -> None:
        """Reload files and replace the workers, unless they would not start."""
        problem = self._problem()
        if problem is not None:
            logger.error("SIGHUP is ignored, since a worker would not start: %s", problem)
            return
        before, master = self.app.cfg, os.getpid()
        try:
            if self.single:  # a second worker would refuse requests while the first one drains
                self.app.reload()
                self.setup(self.app)
                logger.info("SIGHUP: the worker is replaced")
                self.kill_workers(signal.SIGTERM)
            else:
                super().handle_hup()
        except SystemExit:
            if os.getpid() != master:  # a worker that was forked here, at its end: it must not continue as a master
                raise
            # A file was changed after the check.
            self.app.cfg = before
            logger.error("SIGHUP is ignored: a file was changed after the check and cannot be read")  # noqa: TRY400 - no defect

    def _problem(self) -> str | None:
        environ = {name: value for name, value in os.environ.items() if name not in self.unshared}
        try:
            done = subprocess.run(
                [sys.executable, *self.check],
                cwd=self.folder,
                env=environ,
                capture_output=True,
                check=False,
                timeout=_CHECK_WITHIN_S,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        lines = done.stderr.decode(errors="replace").split("\n")
        return ([f"status {done.returncode}"] + [line for line in lines if line])[-1] if done.returncode else None

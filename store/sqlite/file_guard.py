"""Checks that the files of an open database are those at their paths. It uses no tables and repairs nothing.

A process can continue to use a file that was removed, moved or replaced: the file exists without its name until it is
closed. The next process does not see what is stored there.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, NoReturn

import apsw

from store.errors import StoreUnavailableError
from store.sqlite.files import FileId, file_id, has_moved, require_one_name
from store.sqlite.lock import Locked

logger: Final = logging.getLogger(__name__)

_PUT_BACK: Final = "put the file back and restart the service"
_LOG_LOST: Final = "stop the service with SIGTERM, never with SIGKILL, so that it can save the log, and start it again"
_LOCK_LOST: Final = "restart the service"


class FileGuard:
    """The files that ``connection``, opened by ``path``, works on: database, log, index of the log, and lock.

    After a mismatch the files are not trusted until a restart, because other processes may have used them.
    Raises StoreUnavailableError when there is a mismatch already.
    """

    def __init__(self, path: Path, connection: apsw.Connection, locked: Locked | None) -> None:
        base = str(path.resolve())
        self._log = f"{base}-wal"
        database = require_one_name(path)
        if has_moved(connection) or (locked is not None and locked.database != database):
            raise StoreUnavailableError(f"{path} was replaced while it was opened: restart the service")
        self._database: Final = (str(path), database, _PUT_BACK)
        try:
            others = [(name, file_id(name), _LOG_LOST) for name in (self._log, f"{base}-shm")]
        except OSError as error:
            raise StoreUnavailableError(f"{error.filename} cannot be found: {error.strerror}") from error
        if locked is not None:
            others.append((str(locked.path), locked.file, _LOCK_LOST))
        self._files: Final = (self._database, *others)
        self._problem: str | None = None
        self._lost = ""

    def check(self) -> None:
        """Raise StoreUnavailableError unless all files are at their paths."""
        self._raise_known()
        for expected in self._files:
            self._check(*expected)

    def check_database(self) -> None:
        """Check only the database, for reads: the open file of the log is still valid for them."""
        self._raise_known()
        self._check(*self._database)

    def check_reader(self, connection: apsw.Connection) -> None:
        """Raise StoreUnavailableError unless ``connection``, which has read, works on the same files.

        Another connection may share the index of the log, and closing it drops the locks on that.
        """
        self.check()
        if has_moved(connection):
            name, _, remedy = self._database
            self._find(name, f"{name} was replaced while it was opened: {remedy}")

    @property
    def is_log_savable(self) -> bool:
        """Whether only the name of the log is gone, so that a checkpoint saves its content."""
        if self._lost != self._log:
            return False
        try:
            for expected in self._files:
                if expected[0] != self._log and file_id(expected[0]) != expected[1]:
                    return False
            return Path(self._log).stat().st_size == 0
        except FileNotFoundError as error:
            return str(error.filename) == self._log
        except OSError:
            return False

    def _raise_known(self) -> None:
        if self._problem is not None:
            raise StoreUnavailableError(self._problem)

    def _check(self, name: str, expected: FileId, remedy: str) -> None:
        try:
            found = file_id(name)
        except (FileNotFoundError, NotADirectoryError):
            self._find(name, f"{name} was removed or moved while it was in use: {remedy}")
        except OSError as error:
            raise StoreUnavailableError(f"{name} cannot be looked at: {error.strerror}") from error
        if found != expected:
            self._find(name, f"{name} was replaced by another file while it was in use: {remedy}")

    def _find(self, name: str, problem: str) -> NoReturn:
        if self._problem is None:
            self._problem, self._lost = problem, name
            logger.critical("nothing more is stored: %s", problem)
        raise StoreUnavailableError(problem)

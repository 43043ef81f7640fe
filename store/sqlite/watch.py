"""Watches that the files of an open database are the ones at their paths. Knows no tables, and mends nothing.

A process goes on with a file that was removed, moved or replaced as if nothing had happened: the file lives on without
its name until it is closed. What is stored there is gone for the next process.
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


class Watch:
    """The files that ``connection``, opened by ``path``, works on: database, log, index of the log, and lock.

    What was found out of its place once is not trusted again before a restart: others may have had it meanwhile.
    Raises StoreUnavailableError when a file is out of its place already.
    """

    def __init__(self, path: Path, connection: apsw.Connection, locked: Locked | None) -> None:
        base = str(path.resolve())
        self._log = f"{base}-wal"
        database = require_one_name(path)
        if has_moved(connection) or (locked is not None and locked.database != database):
            raise StoreUnavailableError(f"{path} was replaced while it was opened: restart the service")
        self._database: Final = (str(path), database, _PUT_BACK)
        try:
            beside = [(name, file_id(name), _LOG_LOST) for name in (self._log, f"{base}-shm")]
        except OSError as error:
            raise StoreUnavailableError(f"{error.filename} cannot be found: {error.strerror}") from error
        if locked is not None:
            beside.append((str(locked.path), locked.file, _LOCK_LOST))
        self._files: Final = (self._database, *beside)
        self._problem: str | None = None
        self._lost = ""

    def check(self) -> None:
        """Raise StoreUnavailableError unless all files are in their places."""
        self._raise_known()
        for expected in self._files:
            self._check(*expected)

    def check_database(self) -> None:
        """The same of the database alone, for reads: what the log's open file says is still so."""
        self._raise_known()
        self._check(*self._database)

    def check_reader(self, connection: apsw.Connection) -> None:
        """Raise StoreUnavailableError unless ``connection``, which has read, works on the same files.

        One that does not may have had the same index of the log, and its end has dropped the locks on that.
        """
        self.check()
        if has_moved(connection):
            name, _, remedy = self._database
            self._find(name, f"{name} was replaced while it was opened: {remedy}")

    @property
    def is_log_savable(self) -> bool:
        """Whether only the name of the log is gone: then a checkpoint saves what is in it."""
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

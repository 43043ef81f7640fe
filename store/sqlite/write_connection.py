"""The only writing connection of a file: one job at a time, transactions, and failed COMMITs. It names no tables."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import apsw

from store.errors import CommitUncertainError, StoreUnavailableError, storable
from store.port import Offload
from store.sqlite.command_connections import has_log, no_log_text
from store.sqlite.connection import BUSY_TIMEOUT_MS, IN_USE, open_reader, open_writer
from store.sqlite.failures import NOT_COMMITTED, translated, translation
from store.sqlite.file_guard import FileGuard
from store.sqlite.lock import Locked

logger: Final = logging.getLogger(__name__)

T = TypeVar("T")


class WriteConnection:
    """Runs jobs one after the other, each in a transaction of its own.

    Statements run in the caller's thread; only calls that may wait for a disk or a lock go through ``offload``. While
    the open files differ from those at their paths (``guard``), no job begins and no commit is confirmed.
    """

    def __init__(
        self, path: Path, *, offload: Offload, synchronous: str, vfs: str | None, locked: Locked | None
    ) -> None:
        self._offload = offload
        self._turn = threading.Lock()
        self._path, self._had_log = path, has_log(path)
        self._connection = open_writer(path, synchronous, vfs)
        try:
            self.guard: Final = FileGuard(path, self._connection, locked)
        except BaseException:
            self._connection.close()
            raise
        self._cursor = self._connection.cursor()
        self._unsettled = False

    def run(self, job: Callable[[apsw.Cursor], T]) -> T:
        """Run ``job`` in a transaction, and return its result when the transaction is durable.

        Raises StoreUnavailableError and what ``job`` raises (rolled back), and CommitUncertainError.
        """
        with self._turn:
            self._require_files()
            self._begin()
            try:
                with storable():
                    result = job(self._cursor)
            except apsw.Error as error:
                self._roll_back()
                raise translated(error) from error
            except BaseException:
                self._roll_back()
                raise
            self._commit()
            self._confirm()
            return result

    def define(self, script: str) -> None:
        """Run ``script``, which creates temporary objects of this connection. Raises StoreError."""
        with self._turn, translation():
            self._connection.execute(script)

    def run_statement(self, statement: str, values: tuple[str | None, ...]) -> None:
        """Run ``statement`` in a transaction of its own, off the caller's thread as a whole.

        apsw reacquires the interpreter's lock after each statement. The COMMIT is part of this one, so the other thread
        interrupts only once. Raises as ``run`` does, and UnstorableError when a constraint or a trigger refuses it.
        """
        with self._turn:
            self._require_files()
            if self._unsettled:
                with translation():
                    self._settle()
            try:
                with storable():
                    self._offloaded(lambda: self._execute_patiently(statement, values))
            except NOT_COMMITTED as error:
                raise translated(error) from error
            except apsw.Error as error:
                self._commit_failed(error)
            except BaseException:
                self._unsettled = True
                raise
            self._confirm()

    def open_reader(self) -> apsw.Connection:
        """Open a connection that reads what this one writes, even if the path names another file now.

        Raises StoreUnavailableError, and apsw.Error.
        """
        try:
            connection = open_reader(self._path)
        except apsw.Error:
            self.guard.check()  # problems of another file are irrelevant
            raise
        try:
            self.guard.check_reader(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def take_into_use(self) -> None:
        """Mark the file as open in a service, until ``give_out_of_use``. Raises StoreError.

        The mark is in the file itself, so that a copy without the log shows it.
        """
        with self._turn, translation():
            marked = self._connection.pragma("application_id") == IN_USE
        if marked and not self._had_log:
            logger.critical("started with a copy without its newest commits: %s", no_log_text(self._path))
        self._mark(IN_USE)

    def give_out_of_use(self) -> None:
        """Remove the mark before the connection is closed. Raises StoreError."""
        self._mark(0)

    def _mark(self, application_id: int) -> None:
        self.run(lambda cursor: cursor.connection.pragma("application_id", application_id))
        with self._turn, translation():
            self._offloaded(self._checkpoint)

    def close(self) -> None:
        """Close the connection after the present job."""
        with self._turn, translation():
            self._connection.close()

    def _require_files(self) -> None:
        try:
            self.guard.check()
        except StoreUnavailableError:
            if self.guard.is_log_savable:
                with suppress(apsw.Error):
                    self._offloaded(self._checkpoint)
            raise

    def _confirm(self) -> None:
        """Treat a commit to displaced files as uncertain: it returns only if the files do."""
        try:
            self.guard.check()
        except StoreUnavailableError as error:
            raise CommitUncertainError(f"it was committed, but {error}") from error

    def _checkpoint(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _begin(self) -> None:
        with translation():
            if self._unsettled:
                self._settle()
            try:
                self._cursor.execute("BEGIN IMMEDIATE")
            except apsw.BusyError:
                self._offloaded(self._begin_patiently)

    def _begin_patiently(self) -> None:
        self._execute_patiently("BEGIN IMMEDIATE", ())

    def _execute_patiently(self, statement: str, values: tuple[str | None, ...]) -> None:
        self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        try:
            self._cursor.execute(statement, values)
        finally:
            self._connection.set_busy_timeout(0)

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
        except apsw.Error:
            self._unsettled = True

    def _commit(self) -> None:
        try:
            self._offloaded(lambda: self._execute("COMMIT"))
        except apsw.Error as error:
            self._commit_failed(error)
        except BaseException:
            self._unsettled = True
            raise

    def _commit_failed(self, error: apsw.Error) -> NoReturn:
        self._unsettled = True
        try:
            self._settle()
        except apsw.Error:
            raise CommitUncertainError(f"COMMIT failed: {type(error).__name__}: {error}") from error
        raise StoreUnavailableError(f"COMMIT failed and is undone: {type(error).__name__}: {error}") from error

    def _settle(self) -> None:
        """Ensure that a failed COMMIT stays undone, even if this process dies next.

        SQLite forgets the transaction at once. But the fault may occur after the last page was written to the
        write-ahead log, for example during its sync. Then a later process would find a complete transaction there and
        treat it as committed. One more commit overwrites its first page, and with it the chain of checksums.
        """
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")
        self._offloaded(self._overwrite)
        self._unsettled = False

    def _overwrite(self) -> None:
        self._begin_patiently()
        try:
            version = self._connection.pragma("user_version")
            self._connection.pragma("user_version", version)  # writes the first page even if nothing changes
            self._cursor.execute("COMMIT")
        except apsw.Error:
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
            raise

    def _execute(self, statement: str) -> None:
        self._cursor.execute(statement)

    def _offloaded(self, job: Callable[[], None]) -> None:
        failures: list[apsw.Error] = []

        def run() -> None:
            try:
                job()
            except apsw.Error as error:
                failures.append(error)

        self._offload(run)
        if failures:
            raise failures[0]

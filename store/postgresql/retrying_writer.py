"""Changes the store: one round trip per batch, and the settlement of calls whose connection was cut.

A connection that is cut during a call leaves its outcome unknown. First the server's process behind it is ended, so
that it can neither commit later nor hold a lock: then the stored data are final. A batch that can be recognised by its
events or claims is then appended again, and answers as the first time.

A server process that has committed and waits for a synchronous replica is not ended. That would make visible what a
failover may revert, and each further commit would leave another such process. While one waits, nothing more is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

import psycopg
from psycopg import errors

from store.errors import CommitUncertainError, StoreError, StoreUnavailableError, storable
from store.port import AppendResult, Head, Write
from store.postgresql.arrays import AppendArrays
from store.postgresql.batch import AppendDocument
from store.postgresql.failures import UnreplicatedError, is_lost, is_race, translated
from store.postgresql.rows import Row
from store.postgresql.sessions import Backend, Session, Sessions
from store.postgresql.statements import SQL

T = TypeVar("T")

ATTEMPTS_MAX: Final = 5
"""How often a batch is sent that lost a race against another process or lost its connection."""
SETTLE_S: Final = 5.0
"""The time limit for settling a call whose connection was cut."""

_END_BACKEND: Final = """
SELECT pg_terminate_backend(pid, %s)
FROM pg_stat_activity
WHERE pid = %s AND backend_start = %s
"""
_WAITS_FOR_REPLICA: Final = """
SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = %s AND backend_start = %s AND wait_event = 'SyncRep')
"""
_NO_REPLICA: Final = "a synchronous replica does not confirm what was committed"


class RetryingWriter:
    """Appends batches and runs other changes on a few connections. Safe for many threads."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._unreplicated: list[Backend] = []
        """Server processes of lost connections that may wait for a replica; checked before the next call."""

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See ``store.port.Store``."""
        if not writes:
            return []
        with storable():
            query, values, answers = append_call(writes)
        uncertain = False
        for attempt in range(1, ATTEMPTS_MAX + 1):
            session: Session | None = None
            try:
                with self._connection() as session:
                    cursor = session.execute(query, values, prepare=True, binary=True)
                    return answers(cursor.fetchall())
            except psycopg.Error as error:
                if session is not None and is_lost(session, error):
                    uncertain = self._settle(session.backend, writes, error)
                elif not is_race(error) or attempt == ATTEMPTS_MAX:
                    failure = self._failed(error)
                    if uncertain and isinstance(failure, StoreUnavailableError):
                        raise CommitUncertainError(f"the connection was cut, and then: {failure}") from error
                    raise failure from error
        raise (
            CommitUncertainError(f"the connection was cut {ATTEMPTS_MAX} times")
            if uncertain
            else (StoreUnavailableError(f"the connection was cut {ATTEMPTS_MAX} times, and nothing was stored"))
        )

    def change(self, job: Callable[[Session], T], *, repeatable: bool) -> T:
        """Run ``job``, a single statement. With ``repeatable`` it is run again after the connection was cut.

        Raises CommitUncertainError when its effect is unknown, and the other errors of the store when it has none.
        """
        uncertain = False
        for again in (repeatable, False):
            session: Session | None = None
            try:
                with storable(), self._connection() as session:
                    done = job(session)
                    if uncertain:  # the effect of the first call counts only after it is replicated
                        session.execute(SQL["confirm"])
                    return done
            except psycopg.Error as error:
                cut = session is not None and is_lost(session, error)
                lost = cut or isinstance(error, UnreplicatedError)
                if cut and session is not None:
                    self._unreplicated.append(session.backend)
                if lost and again:
                    uncertain = True
                    self._sessions.replace_lost()
                elif lost or uncertain:
                    raise CommitUncertainError(f"the connection was cut: {error}") from error
                else:
                    raise self._failed(error) from error
        raise AssertionError("the last run returns or raises")

    @contextmanager
    def _connection(self) -> Iterator[Session]:
        """A connection that writes. Raises psycopg.OperationalError while a commit waits for a replica."""
        with self._sessions.pool.connection() as session:
            for backend in [*self._unreplicated]:
                if session.execute(_WAITS_FOR_REPLICA, backend).fetchone() == (True,):
                    raise psycopg.OperationalError(_NO_REPLICA)
                with suppress(ValueError):  # another thread removed it
                    self._unreplicated.remove(backend)
            yield session

    def _note_waiting(self, session: Session, backend: Backend, cut: psycopg.Error) -> None:
        if session.execute(_WAITS_FOR_REPLICA, backend).fetchone() == (True,):
            self._unreplicated.append(backend)
            raise CommitUncertainError(_NO_REPLICA) from cut

    def _failed(self, error: psycopg.Error) -> StoreError:
        """``error`` as an error of the store. Replaces sessions that cannot write."""
        if isinstance(error, errors.ReadOnlySqlTransaction):
            self._sessions.replace_read_only()
        return translated(error)

    def _settle(self, backend: Backend, writes: Sequence[Write], cut: psycopg.Error) -> bool:
        """Wait for the certain end of the cut call. True when it may have stored ``writes``.

        Then they may be appended again. Raises CommitUncertainError when the server does not answer, and when a write
        has neither events nor claims by which it is recognised.
        """
        deadline = time.monotonic() + SETTLE_S
        while True:
            session: Session | None = None
            try:
                self._sessions.replace_lost()
                with self._sessions.pool.connection() as session:
                    self._note_waiting(session, backend, cut)
                    _end(session, backend, deadline - time.monotonic())
                    if _surely_not_stored(session, writes):
                        return False
                break
            except psycopg.Error as error:
                if time.monotonic() > deadline or session is None or not is_lost(session, error):
                    raise CommitUncertainError(f"the connection was cut ({cut}), and then: {error}") from error
        if not all(map(_is_recognised, writes)):
            raise CommitUncertainError(f"the connection was cut: {cut}") from cut
        return True


def append_call(writes: Sequence[Write]) -> tuple[str, Sequence[object], Callable[[list[Row]], list[AppendResult]]]:
    """The statement that appends ``writes``, its values, and the reader of its rows.

    Nearly every batch fits into arrays, which take less of the CPU time of both sides than a document.
    """
    arrays = AppendArrays(writes)
    if arrays.complete:
        return SQL["append_writes"], arrays.values, arrays.answers
    document = AppendDocument(writes)
    return SQL["append_batch"], (document.document,), document.answers


def _end(session: Session, backend: Backend, within_s: float) -> None:
    """End the server's process, unless it has ended. Raises OperationalError when it does not."""
    within_ms = max(1, min(round(within_s * 1000), 4_000))  # below the statement's own time limit
    if session.execute(_END_BACKEND, (within_ms, *backend)).fetchall() == [(False,)]:
        raise psycopg.OperationalError("the server's process of the lost connection does not end")


def _is_recognised(write: Write) -> bool:
    """Whether appending it again is safe: it is recognised by its events or claims, or it changes nothing."""
    return any(part.events or part.claims for part in write.parts) or not any(part.work for part in write.parts)


def _surely_not_stored(session: Session, writes: Sequence[Write]) -> bool:
    """Whether a trace of the batch is missing, which is stored whole or not at all; called after its end.

    A write that would be stored now would have been stored then, because heads, claims and tokens never go back.
    """
    for write in writes:
        events = [event for part in write.parts for event in part.events]
        if events:
            row = session.execute(SQL["select_first_event"], (events[0].version, *write.stream)).fetchone()
            event_id, *head = row or (None, *Head())
            if event_id == events[0].event_id:
                return False
            if (*head,) != write.head:
                continue  # it lost, or another write followed it
        if (events or _leaves_a_trace(write)) and _nothing_refuses(session, write):
            return True
    return False


def _leaves_a_trace(write: Write) -> bool:
    """Whether a write without events could not be stored a second time."""
    return any(
        part.claims or (part.fence is not None and part.fence.work_id in {change.work_id for change in part.work})
        for part in write.parts
    )


def _nothing_refuses(session: Session, write: Write) -> bool:
    for part in write.parts:
        for claim in part.claims:
            if session.execute(SQL["select_claim"], (claim.scope, claim.key)).fetchone() is not None:
                return False
        fence = part.fence
        if fence is not None:
            row = session.execute(SQL["select_work_token"], (fence.work_id,)).fetchone()
            if row is None or row[0] != fence.token:
                return False
    return True

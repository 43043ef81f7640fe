"""Owners, leases and claims of work, and operator commands: each a single statement, so a transaction of its own."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Final

from store.errors import CorruptStoreError
from store.port import DeadLetterFilter, DeliveryCertainty, GatewayMode, WorkError, WorkItem, names_seen_by
from store.postgresql.rows import errors_text, readable_errors, work_item_of
from store.postgresql.sessions import Session
from store.postgresql.statements import SQL

logger: Final = logging.getLogger(__name__)


def register(session: Session, owner: str, vocabulary: int) -> None:
    """Register ``owner``, alive now."""
    session.execute(SQL["upsert_owner"], (owner, vocabulary))


def beat(session: Session, owner: str) -> bool:
    """Renew the heartbeat of ``owner``. False when it is not registered any more."""
    return session.execute(SQL["update_heartbeat"], (owner,)).fetchone() is not None


def retire(session: Session, owner: str, certainty: DeliveryCertainty) -> int:
    """Delete ``owner`` and queue all work that it leases, with at least ``certainty``. Returns how much that was."""
    return _count(session, "retire_owner", owner, int(certainty))


def release_silent(session: Session, lease_s: float) -> int:
    """The same for all owners without a heartbeat for ``lease_s``. Their work may have been sent."""
    return _count(session, "release_silent", lease_s, int(DeliveryCertainty.LEASE_LOST))


def claim(session: Session, owner: str, gateway: str, limit: int) -> list[WorkItem]:
    """Lease due work to ``owner``, oldest due first. Nothing to an owner that is not registered."""
    values = {"owner": owner, "gateway": gateway, "at_most": limit}
    items = []
    for row in session.execute(SQL["claim_work"], values, prepare=True, binary=True).fetchall():
        try:
            items.append(work_item_of(row))
        except CorruptStoreError as error:
            logger.error("parked: %s", error)  # noqa: TRY400  # a traceback adds nothing to the text
            # Work that cannot be read waits for an operator and does not hold up other work.
            errors = (*readable_errors(row), WorkError(datetime.now(UTC), str(error)))
            session.execute(SQL["park_work"], (errors_text(errors), row[0], row[1]))
    return items


def hasten_lookups(session: Session, gateway: str) -> int:
    """Make the gateway's queued lookups due. Returns how many were not. Those that were due keep their order."""
    return session.execute(SQL["hasten_lookups"], (gateway,)).rowcount


def retry_dead(session: Session, merchant: str, where: DeadLetterFilter) -> int:
    """Queue the merchant's dead letters that match. Returns how many that were."""
    name = "retry_dead" if where.work_id is None else "retry_dead_letter"
    return session.execute(SQL[name], {"names": list(names_seen_by(merchant)), **where._asdict()}).rowcount


def set_mode(session: Session, mode: GatewayMode) -> None:
    """Store the mode, in place of an earlier one."""
    session.execute(SQL["upsert_gateway_mode"], mode)


def _count(session: Session, name: str, *values: object) -> int:
    row = session.execute(SQL[name], values).fetchone()
    assert row is not None
    return int(row[0])

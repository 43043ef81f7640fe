"""Migrations that are refused: the database stays as it is, and the error states what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.errors import CorruptStoreError
from store.sqlite.migrate import migrate
from tests.store.earlier import before_heads, everything

GHOST = "INSERT INTO balances VALUES ('main', 'ghost', 'USD', 500, 0)"
DAMAGE = {
    "main/ghost has balances and no events": GHOST,
    "main/a has a negative balance": "UPDATE balances SET available_minor = -5 WHERE stream_id = 'a'",
    "main/b has a negative balance": "UPDATE balances SET reserved_minor = -5 WHERE stream_id = 'b'",
    "main/b has a damaged hash": "UPDATE events SET hash = x'00' WHERE position = (SELECT max(position) FROM events)",
    "a row is damaged (CHECK constraint failed: heads_balances_not_negative)": "UPDATE balances SET currency = 'A-B'",
}
REMEDY = "the database stays at version 9; examine it with `manage.py verify` of the version before"


@pytest.mark.parametrize("problem", DAMAGE)
def test_a_row_that_cannot_be_kept(tmp_path: Path, problem: str) -> None:
    """Migration 10 does not drop evidence of cut events, and names the damaged stream. Nothing is changed."""
    path = tmp_path / "payments.db"
    before_heads(path, DAMAGE[problem])
    before = everything(path)
    with pytest.raises(CorruptStoreError) as refusal:
        migrate(path)
    assert str(refusal.value) == f"{path}: {problem}: {REMEDY}"
    assert everything(path) == before
    assert before["version"] == 9

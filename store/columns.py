"""The columns of ``transactions``, ``reviews`` and ``work``, each declared once.

``store.dialect`` expands these lists in the SQL, ``store.row_code`` makes functions between rows and domain objects.
docs/adding-a-column.md describes how to add a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, EnumType, auto
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeVar

from domain.account import Failure, Status, Transaction
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Category
from store.codec import expected_text, read_expected, read_report, report_text
from store.port import Review

T = TypeVar("T")


class Type(Enum):
    """What a column holds. A dialect has the SQL type, and how Python writes and reads it."""

    TEXT = auto()
    INTEGER = auto()
    BOOLEAN = auto()
    TIME = auto()
    """A time in UTC, to the microsecond."""
    JSON = auto()
    """A JSON document, kept as it was written."""
    ERRORS = auto()
    """The errors of a piece of work: JSON that is read even when its text is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. Selects and inserts name the columns in the order of their list.

    ``path`` is the value's place in the domain object: a field, a field of a nested object ("money.minor"), or "" for a
    part of the stream's key that the object does not have. ``enum`` or ``read`` makes the domain value, ``write`` the
    column's value. Without them the dialect converts by type. NULL is None.
    """

    name: str
    type: Type
    path: str
    nullable: bool = False
    changes: bool = False
    """Whether an upsert replaces the value in an existing row. The other columns are written once."""
    enum: EnumType | None = None
    read: Callable[[Any], Any] | None = None
    write: Callable[[Any], Any] | None = None
    absent: str | None = None
    """For columns of later versions: the SQL value when a process of an earlier version writes the row, unless NULL."""


class Nested(NamedTuple):
    """An object within the domain object, made of the columns whose paths begin with its field's name."""

    cls: type
    optional: bool = False
    """None when the first of its columns is NULL."""


@dataclass(frozen=True, slots=True)
class Table(Generic[T]):
    """A table whose rows are objects of ``cls``."""

    name: str
    row_name: str
    """What an error calls one row."""
    cls: type[T]
    columns: tuple[Column, ...]
    nested: Mapping[str, Nested] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)


def _column(name: str, type_: Type = Type.TEXT, path: str | None = None, **more: Any) -> Column:  # noqa: ANN401
    """A column whose path is its name, unless another one is given."""
    return Column(name=name, type=type_, path=name if path is None else path, **more)


_STREAM: Final = (_column("stream_name", path=""), _column("stream_id", path=""))

_RECEIVED_CORRELATION: Final = "received_correlation(n.stream_name, n.stream_id, n.transaction_id, n.version)"

TRANSACTIONS: Final = Table(
    "transactions",
    "transaction",
    Transaction,
    (
        _column("transaction_id"),
        _column("stream_name", path=""),
        _column("stream_id", path="customer_id"),
        _column("kind", enum=Kind),
        _column("gateway"),
        _column("amount_minor", Type.INTEGER, "money.minor"),
        _column("currency", Type.TEXT, "money.currency"),
        _column("details", Type.JSON),
        _column("status", enum=Status, changes=True),
        _column("reserved", Type.BOOLEAN),
        _column("submissions", Type.INTEGER, changes=True),
        _column("gateway_reference", nullable=True, changes=True),
        _column("failure_code", Type.TEXT, "failure.code", nullable=True, changes=True),
        _column("failure_category", Type.TEXT, "failure.category", nullable=True, changes=True, enum=Category),
        _column("failure_message", Type.TEXT, "failure.message", nullable=True, changes=True),
        # The upserts spell out its change, because it also refuses rows of other streams.
        _column("version", Type.INTEGER),
        _column("created_at", Type.TIME),
        _column("updated_at", Type.TIME, changes=True),
        _column("correlation_id", nullable=True, absent=_RECEIVED_CORRELATION),
        _column("manual_capture", Type.BOOLEAN, absent="false"),
        _column("parent_id", nullable=True),
        _column("parent_reference", nullable=True),
        _column("reason", nullable=True),
        _column("captured_minor", Type.INTEGER, nullable=True, changes=True),
        _column("refunded_minor", Type.INTEGER, changes=True, absent="0"),
        _column("refunding_minor", Type.INTEGER, changes=True, absent="0"),
        _column("ended_by", nullable=True, changes=True),
        _column("authorization_expires_at", Type.TIME, nullable=True, changes=True),
    ),
    {"money": Nested(Money), "failure": Nested(Failure, optional=True)},
)

REVIEWS: Final = Table(
    "reviews",
    "review",
    Review,
    (
        _column("review_id"),
        *_STREAM,
        _column("transaction_id", nullable=True),
        _column("reason"),
        _column("state", changes=True),
        _column("opened_at", Type.TIME),
        _column("closed_at", Type.TIME, nullable=True, changes=True),
        _column("said", nullable=True, read=read_report, write=report_text),
        _column("expected", nullable=True, read=read_expected, write=expected_text),
    ),
)


class WorkRow(NamedTuple):
    """The columns from which work is read, as the driver returns them. Their order is that of the selects."""

    work_id: str
    token: int
    stream_name: str
    stream_id: str
    gateway: str
    action: str
    event_type: str
    attempts: int
    errors: str | bytes
    payload: bytes | None
    doubt: int
    """The value of a ``store.port.DeliveryCertainty``."""
    transaction_id: str | None
    state: str
    next_attempt_at: Any
    """A time in the form of the dialect, like ``created_at``."""
    created_at: Any


WORK: Final = Table(
    "work",
    "work",
    WorkRow,
    # Only selects use this list, and they need the type of ``errors`` alone.
    tuple(_column(name, Type.ERRORS if name == "errors" else Type.TEXT) for name in WorkRow._fields),
)

TABLES: Final[Mapping[str, Table[Any]]] = MappingProxyType({one.name: one for one in (TRANSACTIONS, REVIEWS, WORK)})

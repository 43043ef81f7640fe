"""Writes to the streams: what one write carries, its possible results, and the role that appends and loads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.account import Account, Balance, Transaction
from domain.gateway_report import Expected, GatewayReport
from domain.values import value
from store.port.streams import EncodedEvent, Head, StoredEvent, StreamKey
from store.port.work import Fence, WorkChange


class Claim(NamedTuple):
    """Something that may happen once: ``key`` is unique within ``scope``, ``value`` describes its holder."""

    scope: str
    key: str
    value: bytes

    def __repr__(self) -> str:
        """Leave out the value, which may come from a provider."""
        return f"Claim({self.scope!r}, {self.key!r})"


@value(frozen=True, slots=True)
class Part:
    """What one command adds to a write."""

    events: tuple[EncodedEvent, ...] = ()
    claims: tuple[Claim, ...] = ()
    fence: Fence | None = None
    work: tuple[WorkChange, ...] = ()


@value(frozen=True, slots=True)
class Review:
    """A contradiction of the record, for operators. ``said``, ``expected``: see ``ReviewOpened``."""

    review_id: str
    transaction_id: str | None
    reason: str
    state: str
    opened_at: datetime
    closed_at: datetime | None
    said: GatewayReport | None = None
    expected: Expected | None = None


@value(frozen=True, slots=True)
class Write:
    """The parts of several commands of one customer, stored whole or not at all, and the read rows after them.

    ``head`` is the expected end of the stream; the version of the first event is the next one. A write without events
    ignores the head, unless it has to ``confirm``. Then the head must be in the stream, and this commit makes every
    earlier commit as durable as itself, on replicas as well.
    """

    stream: StreamKey
    head: Head
    parts: tuple[Part, ...]
    transactions: tuple[Transaction, ...] = ()
    balances: tuple[tuple[str, Balance], ...] = ()
    reviews: tuple[Review, ...] = ()
    confirm: bool = False


class Committed(NamedTuple):
    """Durable."""


class Conflict(NamedTuple):
    """Nothing stored: the stream continues after the expected head with ``missed`` (the first few hundred).

    Empty when the expected head was never in the stream: then only loading again helps.
    """

    missed: tuple[StoredEvent, ...]


class Duplicate(NamedTuple):
    """Nothing stored: part number ``part`` claims what ``claim`` already holds."""

    part: int
    claim: Claim


class Fenced(NamedTuple):
    """Nothing stored: part number ``part`` carries a stale token."""

    part: int


AppendResult = Committed | Conflict | Duplicate | Fenced


class Load(NamedTuple):
    """A customer to load, and the transactions to look for."""

    stream: StreamKey
    transaction_ids: Collection[str] = ()


class Snapshot(NamedTuple):
    """A customer at one instant: the end of the stream, and the account with the requested transactions.

    The account has the parents of these transactions, too.
    """

    head: Head
    account: Account


class EventStore(Protocol):
    """Appends to the streams and loads customers. Every method raises StoreUnavailableError."""

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """Commit ``writes`` together and answer each on its own, in their order.

        A conflicting, duplicate or fenced write stores nothing and affects no other; later writes see earlier ones. A
        conflict is reported first, then the duplicate claim of the first part, then its fence. A repeated write is
        recognised by its event ids. Without events it is recognised by its claims, if every part has claims and all
        are held by equal values. Every answer is as durable as a commit, on replicas as well.
        Raises CommitUncertainError, and UnstorableError when a write cannot be stored: then nothing is stored.
        """

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """Return the customer, with those of the named transactions that exist and their parents, in one snapshot.

        Raises CorruptStoreError when a row cannot be read.
        """

    def load_many(self, loads: Sequence[Load]) -> list[Snapshot]:
        """Return what ``load`` returns for each of ``loads``, in their order. Each customer is in one snapshot.

        Raises the error of any of them. Then each can be loaded alone. An adapter that has no query for several
        customers returns ``[self.load(*one) for one in loads]``.
        """

    def stream_of(self, transaction_id: str) -> StreamKey | None:
        """Return the stream, of any merchant, that has the transaction; None when there is none."""

    def claimed(self, scope: str, key: str) -> Claim | None:
        """Return the claim held under ``key`` in ``scope``; None when there is none."""

    def holds(self, stream: StreamKey, version: int, event_id: str) -> bool:
        """Whether the stream has this event under this version."""

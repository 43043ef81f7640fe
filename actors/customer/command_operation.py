"""Operations from outside the actors: a client, an operator or a provider waits for the answer."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from datetime import datetime
from math import inf
from typing import ClassVar, Final

from actors.customer.context import CustomerContext
from actors.customer.idempotency import IdempotencyKey, claim_of, replay
from actors.customer.operation import Batch, Operation
from actors.replies import NotStored, Replayed, Reply, Uncertain
from actors.runtime.actor import Future
from domain.account import TRANSIENT_REFUSALS, Account, Refused, UnknownTransactionError
from store.codec import Metadata
from store.port import Claim, StreamKey

logger: Final = logging.getLogger(__name__)


class CommandOperation(Operation):
    """An operation from outside, with the answer that a thread waits for.

    Either the actor takes it and puts it into a write, or the waiting thread takes it and gives up at the deadline. The
    first to take it decides its result. So the answer "nothing is stored, and nothing ever will be" is a fact.
    """

    refusable = True
    """Whether a full mailbox may refuse it."""
    admission: ClassVar[str] = "others"
    """The class in which its callers are admitted: ``commands`` for deposits and withdrawals, else ``others``."""
    __slots__ = (
        "_claim",
        "answer",
        "deadline",
        "decided_at",
        "doubtful_at",
        "idempotency_key",
        "metadata",
        "refusal_in_doubt",
        "reply",
        "taken",
    )

    def __init__(self, metadata: Metadata, idempotency_key: IdempotencyKey | None = None) -> None:
        self.metadata = metadata
        self.idempotency_key = idempotency_key
        self.deadline = inf  # on the monotonic clock; the service facade sets it
        self.reply: Future[Reply] = Future()
        self.answer: Reply | None = None  # what the reply gets once the batch is stored
        self._claim = [None]  # taking the last item of a list is atomic, and cheaper than a lock
        self.taken = False  # taken by the actor, and not by the waiting thread
        self.event_ids: list[str] = []
        self.in_doubt = False
        self.refusal_in_doubt = False  # a refusal may be on record, under its idempotency key
        self.doubtful_at: int | None = None  # the version after which the append in doubt would be stored, if known
        self.decided_at: datetime | None = None  # chosen once, so that a repeated write has the same time
        self.crashes = 0

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about, if any."""
        return None

    @property
    def vocabulary(self) -> int:
        """The set of events that every process must know before this is stored (``domain.events.VOCABULARY``)."""
        return 1

    @property
    def own_id(self) -> str:
        """An id that no other command has; needed if it may come with an idempotency key."""
        return self.transaction_id or ""

    @property
    def unique(self) -> Hashable | None:
        """Its idempotency key, or else the piece of work that it is about."""
        key = self.idempotency_key
        return self.work_id if key is None else (key.scope, key.key)

    def may_be_stored(self, version: int) -> bool:
        """Whether an earlier write of it may be stored or land later, although the stream at ``version`` lacks it."""
        return self.in_doubt and (self.doubtful_at is None or self.doubtful_at >= version)

    def is_on_record(self, account: Account) -> bool:  # noqa: ARG002
        """Whether ``account`` proves that an earlier write of it is stored."""
        return False

    def take(self) -> bool:
        """Claim the command; True for exactly one caller."""
        try:
            self._claim.pop()
        except IndexError:
            return False
        return True

    def take_up(self) -> bool:
        """Take it for the actor, unless the actor has it already; False when the waiting thread gave up first."""
        if not self.taken:
            self.taken = self.take()
        return self.taken

    def respond(self, answer: Reply) -> None:
        """Answer it, unless it is answered already."""
        if not self.reply.done:
            self.reply.set(answer)

    def turn_away(self, reason: str) -> bool:
        """See Operation."""
        if not self.take():
            return False
        self.reply.set(NotStored(reason))
        return True

    def ready(self, batch: Batch, context: CustomerContext) -> bool:
        """See Operation."""
        if self.reply.done:  # given up in an earlier round of the same batch
            return False
        if self.in_doubt and not batch.looked_for(self.transaction_id):
            raise UnknownTransactionError(self.transaction_id)  # it may be stored: look for it on record first
        # One in doubt is written again at any time, under the same event ids: only that shows whether it is stored.
        doubtful = self.in_doubt or self.refusal_in_doubt
        expired = context.runtime.monotonic() >= self.deadline and not doubtful
        if expired and not self.is_on_record(batch.account):
            if self.take_up():
                self.reply.set(NotStored("The deadline passed before it could be stored."))
            return False
        return self.take_up()

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:  # noqa: ARG002
        """See Operation."""
        if not self.reply.done:
            assert self.answer is not None
            self.reply.set(self.answer)

    def refusal_claim(self, refused: Refused, version: int) -> Claim | None:
        """See Operation. None when the refusal may end by itself, or the command may be stored as carried out."""
        key = self.idempotency_key
        if key is None or refused.code in TRANSIENT_REFUSALS or self.may_be_stored(version):
            return None
        return claim_of(key, self.own_id, refused)

    def refused(self, refused: Refused, version: int) -> None:
        """See Operation."""
        if self.reply.done:
            return
        if self.may_be_stored(version):  # "refused" would be a guess
            self.reply.set(Uncertain(self.transaction_id))
        else:
            self.reply.set(refused)

    def replayed(self, held: Claim) -> bool:
        """See Operation: an idempotency key was used before."""
        if self.idempotency_key is None:
            return super().replayed(held)
        answer = replay(self.idempotency_key, held)
        # The held claim is not its own: that is stored with its event, so the store would have reported a conflict.
        assert answer != Replayed(self.transaction_id or "")
        self.respond(answer)
        return True

    def fenced_off(self) -> bool:
        """See Operation: the work has changed since the operator read it."""
        logger.warning("another process has the work", extra={"fields": self.fields})
        self.respond(Refused("dead-letter-busy", "The dead letter was taken up meanwhile."))
        return True

    def not_stored(self, reason: str) -> bool:
        """See Operation."""
        if self.in_doubt or self.refusal_in_doubt:
            return False
        self.respond(NotStored(reason))
        return True

    def doubt(self, version: int) -> None:
        """See Operation."""
        self.in_doubt, self.doubtful_at = True, version

    def doubt_refusal(self) -> None:
        """See Operation."""
        self.refusal_in_doubt = self.idempotency_key is not None

    def without_transaction(self, stream: StreamKey, context: CustomerContext) -> bool:  # noqa: ARG002
        """See Operation."""
        if self.take_up():
            doubtful = self.in_doubt or self.refusal_in_doubt
            self.respond(Uncertain(self.transaction_id) if doubtful else NotStored("It is no longer on record."))
        return False

    def actor_died(self) -> bool:
        """See Operation."""
        self.doubt_refusal()  # it may have been put into a write as well
        return super().actor_died()

    def poisoned(self, stream: StreamKey, context: CustomerContext) -> None:  # noqa: ARG002
        """See Operation."""
        self.respond(Uncertain(self.transaction_id))

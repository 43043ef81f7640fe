"""The door to the actors of a process: what callers ask becomes a message, and its answer what they are told.

See ``actors.payments.Payments`` for what each method promises.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from pykka import Timeout

from actors.admission import Admission
from actors.customer.idempotency import IdempotencyKey
from actors.listeners import Listener
from actors.messages import DiscardRequest, ReceiveRequest, Recipient, Request, RetryDead, SetBreakerMode, StatusRequest
from actors.operations.callback import Callback, CallbackRequest, stream_of_gateway
from actors.operations.operator_commands import AdjustRequest, CloseReviewRequest, ResolveRequest
from actors.replies import GatewayStatus, NotStored, Reply, SignatureInvalid, Uncertain
from actors.runtime.actor import Reply as Future
from actors.runtime.mailbox import MailboxFullError
from actors.runtime.router import Router
from actors.runtime.runtime import Runtime
from actors.runtime.waiting import Waiting
from domain.commands import Adjust, CloseReview, Discard, Receive, RecordCallback, Resolve
from gateways.masking import kept
from gateways.port import Callbacks, Gateway, SignatureInvalidError, UnusablePayload
from store.codec import Metadata
from store.errors import StoreError, StoreUnavailableError
from store.port import Action, DeadLetterFilter, GatewayMode, Review, Store, StreamKey, WorkItem, WorkState
from store.queries import DeadLetter

logger: Final = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound=Request)

GRACE_S: Final = 0.5
"""How much later than its deadline an answer may come before its caller gives up on it."""
STATUS_TIMEOUT_S: Final = 1.0


class ServiceFacade:
    """Part of ``actors.system.PaymentSystem``, which opens it (``_started``) once nothing can go out too early."""

    _runtime: Runtime
    _store: Store
    _gateways: Mapping[str, Gateway]
    _customers: Router[StreamKey]
    _supervisor: Recipient
    _dead_letters: Recipient
    _shared_breakers: Recipient
    _waiting: Waiting
    _commands: Admission
    _others: Admission
    """Callbacks and people's orders: commands, however many, leave them their room."""
    _listener: Listener
    _request_deadline_s: float
    _started = False

    def new_transaction_id(self) -> str:
        """A new UUIDv7."""
        return self._runtime.new_id()

    def receive(
        self, stream: StreamKey, command: Receive, metadata: Metadata, once: IdempotencyKey | None = None
    ) -> Reply:
        """Take on a deposit or withdrawal; returns when it is durable, refused or given up."""
        return self._ask(self._commands, stream, ReceiveRequest(command, metadata, self._deadline(), once))

    def send(
        self, stream: StreamKey, command: Receive, metadata: Metadata, once: IdempotencyKey | None = None
    ) -> ReceiveRequest | NotStored:
        """The same without waiting, or regard to how many do; the request's ``reply`` gets the answer."""
        return self._send(stream, ReceiveRequest(command, metadata, self._deadline(), once), run_here=False)

    def discard(self, command: Discard, item: WorkItem, metadata: Metadata) -> Reply:
        """Fail the transaction of the dead letter ``item`` for good; Refused where that could falsify the record."""
        request = DiscardRequest(command, item, metadata, self._deadline())
        return self._ask(self._others, item.stream, request)

    def resolve(self, stream: StreamKey, command: Resolve, work: DeadLetter | None, metadata: Metadata) -> Reply:
        """Settle a transaction on a person's word; ``work`` is its work as he saw it, if it has any."""
        # What has no work has its end, or is just coming to it.
        under_way = work is None or (work.item.action is Action.SUBMIT and work.state is WorkState.LEASED)
        item = None if work is None else work.item
        request = ResolveRequest(command, item, metadata, self._deadline(), under_way=under_way)
        return self._ask(self._others, stream, request)

    def adjust(
        self, stream: StreamKey, command: Adjust, metadata: Metadata, once: IdempotencyKey | None = None
    ) -> Reply:
        """Correct a customer's balance on a person's word."""
        request = AdjustRequest(command, metadata, self._deadline(), once)
        return self._ask(self._others, stream, request)

    def close_review(self, stream: StreamKey, command: CloseReview, review: Review, metadata: Metadata) -> Reply:
        """Close ``review`` on an operator's word; confirm the record if it is closed already."""
        request = CloseReviewRequest(command, review, metadata, self._deadline())
        return self._ask(self._others, stream, request)

    def callback(
        self, gateway: str, headers: Mapping[str, str], body: bytes, metadata: Metadata
    ) -> Reply | SignatureInvalid:
        """Store and apply what a configured gateway says of its own accord; ``headers`` by names in lower case."""
        answer = self._take_callback(gateway, headers, body, metadata)
        self._listener.called_back(gateway, answer)
        return answer

    def _take_callback(
        self, gateway: str, headers: Mapping[str, str], body: bytes, metadata: Metadata
    ) -> Reply | SignatureInvalid:
        callbacks = self._gateways[gateway].callbacks
        if callbacks is None:
            return SignatureInvalid()
        try:
            callback = Callback(gateway, callbacks.verify(headers, body, self._runtime.now()), kept(body))
        except SignatureInvalidError as error:
            logger.warning("a callback is not verified: %s", error, extra={"fields": {"gateway": gateway}})
            return SignatureInvalid()
        try:
            stream, request = self._read(callbacks, callback, body, metadata)
        except StoreError as error:
            logger.warning("a callback was not stored: %s", error, extra={"fields": {"gateway": gateway}})
            return NotStored("The store is not available.")
        return self._ask(self._others, stream, request)

    def _read(
        self, callbacks: Callbacks, callback: Callback, body: bytes, metadata: Metadata
    ) -> tuple[StreamKey, CallbackRequest]:
        """Whose callback it is, and what is to be done. Raises StoreError."""
        gateway = callback.gateway
        metadata = replace(metadata, causation_id=f"{gateway}:{callback.event_id}")
        nobody = stream_of_gateway(gateway)
        said = callbacks.read(body)
        request = partial(CallbackRequest, callback, metadata, self._deadline(), verbatim=said.raw)
        if isinstance(said, UnusablePayload):
            owner = None if said.reference is None else self._owner_at(gateway, said.reference)
            about = None if owner is None else said.reference
            return owner or nobody, request(problem=f"A callback cannot be read: {said.problem}", about=about)
        command = RecordCallback(said.reference, gateway, said.gateway_reference, said.money, said.outcome)
        stream = self._store.stream_of(said.reference)
        if stream is not None:
            return stream, request(command=command)
        return nobody, request(unmatched=command, work_key=f"callback:{self._runtime.new_id()}")

    def _owner_at(self, gateway: str, reference: str) -> StreamKey | None:
        """The stream of the transaction if that is at this gateway, else None. Raises StoreError."""
        stream = self._store.stream_of(reference)
        if stream is None:
            return None
        known = self._store.load(stream, (reference,)).account.transactions.get(reference)
        return None if known is None or known.gateway != gateway else stream

    def _deadline(self) -> float:
        return self._runtime.monotonic() + self._request_deadline_s

    def _ask(self, admission: Admission, stream: StreamKey, request: Request) -> Reply:
        """Have ``request`` answered, once ``admission`` has let it in."""
        refusal = admission.enter()
        if refusal is not None:
            return refusal
        try:
            return self._answer(self._send(stream, request, run_here=True))
        finally:
            admission.leave()

    def _send(self, stream: StreamKey, request: R, *, run_here: bool) -> R | NotStored:
        if not self._started:
            return NotStored("The service is not ready.")
        try:
            self._customers.tell(stream, request, run_here=run_here)
        except MailboxFullError:
            return NotStored("Too many commands wait for this customer.")
        return request

    def _answer(self, sent: Request | NotStored) -> Reply:
        if isinstance(sent, NotStored):
            return sent
        try:
            return self._waiting.wait(sent.reply)
        except Timeout:
            if sent.take():
                return NotStored("The deadline passed before it could be stored.")
            return Uncertain(sent.transaction_id)

    def set_breaker_mode(self, mode: GatewayMode) -> GatewayStatus:
        """Force a configured gateway's breaker open or closed, or leave it to itself again; holds over restarts.

        Raises StoreError (nothing has changed), and TimeoutError when it is not known whether it has.
        """
        self._must_be_started()
        order = SetBreakerMode(mode, Future())
        self._shared_breakers.tell(order)
        return self._wait(order.reply)

    def retry_dead_letters(self, merchant: str, where: DeadLetterFilter) -> int:
        """Have the merchant's dead letters that fit done again now; how many they are. Raises as above."""
        self._must_be_started()
        order = RetryDead(merchant, where, Future())
        self._dead_letters.tell(order)
        return self._wait(order.reply)

    def _must_be_started(self) -> None:
        """Nobody may wake an actor before ``start`` does: the breakers' modes come first. Raises StoreError."""
        if not self._started:
            raise StoreUnavailableError("the service is starting")

    def _wait(self, reply: Future[T]) -> T:
        try:
            return reply.get(timeout=self._request_deadline_s)
        except Timeout as error:
            raise TimeoutError("no answer in time") from error

    def gateways(self) -> Sequence[GatewayStatus]:
        """All configured gateways, names ascending. Raises TimeoutError when their supervisor does not answer."""
        request = StatusRequest(Future())
        self._supervisor.tell(request)
        try:
            return request.reply.get(timeout=STATUS_TIMEOUT_S)
        except Timeout as error:
            raise TimeoutError("the gateway supervisor does not answer") from error

    def gateway_currencies(self) -> dict[str, frozenset[str]]:
        """The configured gateways and the currencies that each takes; never blocks."""
        return {name: gateway.currencies for name, gateway in self._gateways.items()}

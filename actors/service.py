"""Command interface for callers outside the actor system: each command becomes a message, and its reply the result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from pykka import Timeout

from actors.admission import Admission
from actors.customer.command_operation import CommandOperation
from actors.customer.idempotency import replay
from actors.listeners import Listener
from actors.messages import Recipient, RetryDead, SetBreakerMode, StatusRequest
from actors.operations.callback import operations_of, verify_callback
from actors.replies import GatewayStatus, NotStored, Reply, SignatureInvalid, Taken, Uncertain
from actors.runtime.actor import Future
from actors.runtime.mailbox import MailboxFullError
from actors.runtime.router import Router
from actors.runtime.runtime import Runtime
from actors.runtime.waiting import Waiting
from actors.stats import AdmissionStats
from domain.account import TRANSIENT_REFUSALS, Refused
from domain.events import Kind
from gateways.port import Acceptance, Gateway, Notice
from store.codec import Metadata
from store.errors import StoreError, StoreUnavailableError
from store.port import DeadLetterFilter, GatewayMode, Store, StreamKey

logger: Final = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound=CommandOperation)

GRACE_S: Final = 0.5
"""How long after the deadline of a command its caller still waits for the reply."""
STATUS_TIMEOUT_S: Final = 1.0
COMMANDS_MAX: Final = 128
"""Deposits and withdrawals that may wait for their reply at a time, unless the operator sets another number."""
OTHERS_MAX: Final = 128
"""Callbacks and operator commands that may wait for their reply at a time, beside deposits and withdrawals."""

_STARTING: Final = "The service is starting."
_STOPPING: Final = "The service is stopping."


class ServiceFacade:
    """Implements ``actors.payments.Payments``, whose docstrings describe each method.

    It exists before the store is open. Until ``open`` it stores nothing: commands get the present problem as their
    reason. ``actors.system.PaymentSystem`` opens it once nothing can reach an actor too early.
    """

    _customers: Router[StreamKey] | None = None
    """None until the facade is open. The six after it are set together with it."""
    _supervisor: Recipient
    _dead_letters: Recipient
    _breaker_sync: Recipient
    _store: Store
    _actor_problems: Callable[[], Sequence[str]]
    _vocabulary_floor: Callable[[], int]

    def __init__(
        self,
        runtime: Runtime,
        gateways: Mapping[str, Gateway],
        listener: Listener,
        *,
        request_deadline_s: float = 10.0,
        commands_max: int = COMMANDS_MAX,
    ) -> None:
        self._runtime, self._gateways, self._listener = runtime, gateways, listener
        self._request_deadline_s = request_deadline_s
        self._waiting = Waiting(runtime, request_deadline_s + GRACE_S)
        # Two classes: however many deposits wait, callbacks and operator commands keep their places.
        self._admissions = {
            "commands": Admission(runtime, commands_max),
            "others": Admission(runtime, OTHERS_MAX),
        }
        self._currencies = {name: gateway.currencies for name, gateway in gateways.items()}
        self._problem = _STARTING
        self._stopping = False
        self.new_transaction_id = runtime.new_id

    # lifecycle

    def open(
        self,
        *,
        customers: Router[StreamKey],
        supervisor: Recipient,
        dead_letters: Recipient,
        breaker_sync: Recipient,
        store: Store,
        problems: Callable[[], Sequence[str]],
        vocabulary_floor: Callable[[], int],
    ) -> None:
        """Pass commands on to these actors from now on.

        ``problems``: why they are not ready. ``vocabulary_floor``: the set of events that all live processes know.
        """
        self._supervisor, self._dead_letters, self._breaker_sync = supervisor, dead_letters, breaker_sync
        self._store, self._actor_problems, self._vocabulary_floor = store, problems, vocabulary_floor
        self._customers = customers  # last: other threads read it first

    def report_problem(self, problem: str) -> None:
        """Give ``problem`` as the reason why the service is not open."""
        self._problem = problem

    def begin_stopping(self) -> None:
        """Report that the service is not ready any more. Commands that still arrive are carried out."""
        self._problem, self._stopping = _STOPPING, True

    def supports(self, gateway: str, kind: Kind, *, manual_capture: bool = False) -> bool:
        """See Payments."""
        configured = self._gateways.get(gateway)
        return configured is not None and kind in configured.operations and (configured.holds or not manual_capture)

    def is_stopping(self) -> bool:
        """See Payments."""
        return self._stopping

    def problems(self) -> Sequence[str]:
        """See Payments."""
        if self._stopping or self._customers is None:
            return [self._problem]
        return self._actor_problems()

    def admissions(self) -> Mapping[str, AdmissionStats]:
        """The callers that wait for replies, by admission class; never blocks."""
        return {name: admission.stats() for name, admission in self._admissions.items()}

    # commands

    def execute(self, stream: StreamKey, command: CommandOperation) -> Reply:
        """See Payments."""
        if self._customers is None:
            return NotStored(self._problem)
        if command.vocabulary > self._vocabulary_floor():
            return _EARLIER_VERSION
        command.deadline = self._runtime.monotonic() + self._request_deadline_s
        admission = self._admissions[command.admission]
        refusal = admission.enter()
        if refusal is not None:
            return refusal
        try:
            try:
                # The caller is about to wait: running an idle actor here saves a hand-over.
                self._customers.tell(stream, command, run_here=True)
            except MailboxFullError:
                return _MAILBOX_FULL
            try:
                reply = self._waiting.wait(command.reply)
            except Timeout:
                if command.take():
                    return NotStored("The deadline passed before it could be stored.")
                return Uncertain(command.transaction_id)
        finally:
            admission.leave()
        return self._replayed(command, reply) if isinstance(reply, Refused) else reply

    def _replayed(self, command: CommandOperation, refused: Refused) -> Reply:
        """The answer to a refused command. If it repeats an accepted command, that command's answer.

        A refusal that is recorded under its key has met the accepted command's claim. A transient one has not.
        """
        key = command.idempotency_key
        if key is None or refused.code not in TRANSIENT_REFUSALS:
            return refused
        try:
            held = self._store.claimed(key.scope, key.key)
        except StoreError as error:
            logger.warning("it is not known whether a command was repeated: %s", error)
            return NotStored("The store is not available.")
        return refused if held is None else replay(key, held)

    def send(self, stream: StreamKey, command: R) -> R | NotStored:
        """Send ``command`` without admission and without waiting, and return it; its ``reply`` gets the answer."""
        if self._customers is None:
            return NotStored(self._problem)
        command.deadline = self._runtime.monotonic() + self._request_deadline_s
        try:
            self._customers.tell(stream, command)
        except MailboxFullError:
            return _MAILBOX_FULL
        return command

    def callback(
        self, gateway: str, headers: Mapping[str, str], body: bytes, metadata: Metadata
    ) -> Reply | SignatureInvalid:
        """See Payments."""
        notices = verify_callback(self._gateways[gateway], headers, body, self._runtime.now())
        reply = notices if isinstance(notices, SignatureInvalid) else self._execute_notices(gateway, notices, metadata)
        self._listener.called_back(gateway, reply)
        return reply

    def _execute_notices(self, gateway: str, notices: Sequence[Notice], metadata: Metadata) -> Reply:
        """Execute the notices of one callback, up to the first one that is not surely stored."""
        if self._customers is None:
            return NotStored(self._problem)
        operations = operations_of(gateway, notices, metadata, store=self._store, runtime=self._runtime)
        if isinstance(operations, NotStored):
            return operations
        for number, (stream, notice) in enumerate(operations):
            reply = self.execute(stream, notice)
            if not isinstance(reply, Taken):
                # Once an earlier notice is stored, "not stored" would be wrong.
                return Uncertain(notice.transaction_id) if number else reply
        return Taken()

    def callback_acceptance(self, gateway: str) -> Acceptance:
        """See Payments."""
        callbacks = self._gateways[gateway].callbacks
        return Acceptance() if callbacks is None else callbacks.acceptance

    # gateways and dead letters

    def set_breaker_mode(self, mode: GatewayMode) -> GatewayStatus:
        """See Payments."""
        self._require_open()
        command = SetBreakerMode(mode, Future())
        self._breaker_sync.tell(command)
        return self._wait(command.reply)

    def retry_dead_letters(self, merchant: str, where: DeadLetterFilter) -> int:
        """See Payments."""
        self._require_open()
        command = RetryDead(merchant, where, Future())
        self._dead_letters.tell(command)
        return self._wait(command.reply)

    def gateways(self) -> Sequence[GatewayStatus]:
        """See Payments."""
        self._require_open()
        request = StatusRequest(Future())
        self._supervisor.tell(request)
        try:
            return request.reply.get(timeout=STATUS_TIMEOUT_S)
        except Timeout as error:
            raise TimeoutError("the gateway supervisor does not answer") from error

    def gateway_currencies(self) -> Mapping[str, frozenset[str]]:
        """See Payments."""
        return self._currencies

    def _require_open(self) -> None:
        """Raise StoreUnavailableError before ``open``: no actor may run before the breakers have their modes."""
        if self._customers is None:
            raise StoreUnavailableError(self._problem)

    def _wait(self, reply: Future[T]) -> T:
        try:
            return reply.get(timeout=self._request_deadline_s)
        except Timeout as error:
            raise TimeoutError("no answer in time") from error


_EARLIER_VERSION: Final = NotStored(
    "A process of an earlier version is still running, and does not support this command.", 5
)
_MAILBOX_FULL: Final = NotStored("Too many commands wait for this customer.")

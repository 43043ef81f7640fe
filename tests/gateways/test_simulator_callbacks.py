"""The simulator's callbacks over real HTTP: each adapter verifies and parses those of its provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.events import Kind
from domain.outcomes import Approved, Declined
from gateways.development import CALLBACK_SECRET
from gateways.port import SignatureInvalidError, WebhookPayload
from tests.gateways.callback_signers import applied, verified
from tests.gateways.contract import Orders
from tests.gateways.peer import Behave, Peer, answers
from tests.gateways.simulator_process import Simulator, callbacks_of, wait_until
from tests.gateways.subjects import GATEWAY_A, GATEWAY_B, Subject

DIALECTS = {"gatewayA": GATEWAY_A, "gatewayB": GATEWAY_B}
by_dialect = pytest.mark.parametrize(("path", "subject"), DIALECTS.items(), ids=DIALECTS)


@by_dialect
@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL])
@pytest.mark.parametrize(
    ("minor", "completed", "times"), [(3, True, 1), (4, False, 1), (12, True, 1), (13, True, 3)], ids=str
)
def test_callbacks_of_the_simulator(  # noqa: PLR0917 (fixtures)
    simulator: Simulator,
    service: Peer,
    order: Orders,
    path: str,
    subject: Subject,
    kind: Kind,
    minor: int,
    *,
    completed: bool,
    times: int,
) -> None:
    """They are valid under the development secret, have the order's reference and money, and repeat their id."""
    gateway = subject.gateway(f"{simulator.url}/{path}", secrets=(CALLBACK_SECRET,))
    payment = order(10_000 + minor, "EUR", kind)
    answer = gateway.submit(payment)
    gateway.close()
    assert isinstance(answer, Approved)
    assert gateway.callbacks is not None
    wait_until(lambda: len(callbacks_of(service, payment)) == times, f"{times} callbacks")
    outcome = (
        Approved(answer.reference, final=True)
        if completed
        else Declined("declined", None, "The gateway reported that it failed.")
    )
    event_ids = set()
    for callback in callbacks_of(service, payment):
        event_ids.add(verified(gateway.callbacks, callback.headers, callback.body, datetime.now(UTC)))
        expected = WebhookPayload(payment.transaction_id, answer.reference, payment.money, outcome)
        assert subject.signer is not None
        assert applied(subject.signer, gateway.callbacks, callback.body, CALLBACK_SECRET) == expected
    assert len(event_ids) == 1


@by_dialect
def test_callbacks_while_secrets_are_changed(  # noqa: PLR0917 (fixtures)
    tmp_path: Path,
    order: Orders,
    peers: Callable[[Behave], Peer],
    start_simulator: Callable[..., Simulator],
    path: str,
    subject: Subject,
) -> None:
    """A callback that is signed with the previous secret is accepted only while that secret is live."""
    assert subject.signer is not None
    newest, older, _ = subject.signer.secrets
    service = peers(answers(200, b""))
    variable = f"SIMULATOR_GATEWAY_{path[-1]}_SECRET"
    started = start_simulator(tmp_path / "ledger.jsonl", service.url, **{variable: older})
    both, only_newest = (
        subject.gateway(f"{started.url}/{path}", secrets=secrets) for secrets in ((newest, older), (newest,))
    )
    payment = order(10_012)
    both.submit(payment)
    both.close()
    only_newest.close()
    [callback] = callbacks_of(service, payment)
    assert both.callbacks is not None
    assert verified(both.callbacks, callback.headers, callback.body, datetime.now(UTC))
    assert only_newest.callbacks is not None
    with pytest.raises(SignatureInvalidError):
        verified(only_newest.callbacks, callback.headers, callback.body, datetime.now(UTC))

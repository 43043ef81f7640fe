"""Run Schemathesis with all of its checks on the document, against a real service whose store it changes.

It sends data that the document allows and data that it forbids. It follows the links of the document and those from
``Location`` headers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import CaseNode, RecordedScenario
from schemathesis.engine.run import TESTING_PHASES, PhaseName

from api.screening.sensitive_data import HOLDS_CARD
from tests.api.live import living
from tests.api.support import Api

pytestmark = pytest.mark.slow

_PAGES: Final = {"cursor", "gateway"}
_COMMANDS: Final = {"amount", "currency", "details", "gateway"}
BEYOND_THE_DOCUMENT: Final[Mapping[str, set[str]]] = {
    "createDeposit": _COMMANDS,
    "createRefund": {"amount"},
    "createCapture": {"amount"},
    "createWithdrawal": _COMMANDS,
    "adjustBalance": {"amount", "currency"},
    "retryDeadLetters": {"gateway"},
    "listTransactions": _PAGES,
    "listChildren": {"cursor"},
    "listCustomerEvents": _PAGES,
    "listGateways": _PAGES,
    "listDeadLetters": _PAGES,
    "listReviews": _PAGES,
    "listWaitingCallbacks": _PAGES,
}
"""Fields that may be wrong although the document allows their values: configured names, money, and cursors."""
HARD_TO_GUESS: Final = {
    "receiveCallback",
    "getDeadLetter",
    "getWaitingCallback",
    "discardDeadLetter",
    "retryDeadLetter",
    "resolveTransaction",
    "createRefund",
    "createCapture",
    "createVoid",
    "listChildren",
}
"""Operations that may not succeed here.

They need a signature, a version, an unchanged dead letter, or a transaction with a certain status.
"""
REFUSALS: Final = {"insufficient-funds", "amount-too-large", "idempotency-key-reused"}
"""Problems with the status 422 that valid data may lead to."""


@schemathesis.check
def valid_data_is_refused_for_rules_beyond_the_document(
    _ctx: CheckContext, response: Response, case: schemathesis.Case[Any]
) -> None:
    """Valid data are refused only for rules that the document cannot express, and then by field name."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in (400, 410, 422):
        return
    problem = response.json()
    if response.status_code == 410:
        assert case.operation.definition.raw["operationId"] == "listEvents", problem
        assert problem["type"] == "/problems/position-unknown", problem
        return
    if response.status_code == 422:
        assert problem["type"].removeprefix("/problems/") in REFUSALS, problem
        return
    operation_id = case.operation.definition.raw["operationId"]
    assert problem.get("errors"), problem
    # Any digits may happen to form a card number, which no schema can exclude.
    wrong = {name for name, messages in problem["errors"].items() if messages != [HOLDS_CARD]}
    assert wrong <= BEYOND_THE_DOCUMENT.get(operation_id, set()), problem


@dataclass
class Run:
    """The requests of a run of Schemathesis, and its findings."""

    phases: set[PhaseName] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    statuses: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """Answers by operation id, whether the data were ``positive`` or ``negative``, and status."""
    followed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Links from ``Location`` that were followed successfully, by their operations."""

    def collect(self, happened: Iterable[events.EngineEvent]) -> None:
        """Collect the results of a whole run."""
        for event in happened:
            if isinstance(event, events.PhaseFinished):
                self.phases.add(event.phase.name)
            elif isinstance(event, events.ScenarioFinished):
                self._take_scenario(event.recorder)
            elif isinstance(event, events.NonFatalError | events.FatalError):
                self.troubles.append(str(event))

    def _take_scenario(self, recorder: RecordedScenario) -> None:
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    self.failures.append(f"{check.name}: {check.failure_info.failure}\n{_shown(recorder, case_id)}")
        for case_id, interaction in recorder.interactions.items():
            node, response = recorder.cases[case_id], interaction.response
            if response is None or node.value.meta is None:
                continue
            mode = "positive" if node.value.meta.generation.mode.is_positive else "negative"
            self.statuses[_operation_id(node), mode, response.status_code] += 1
            if node.is_transition_applied and _is_by_location(node) and response.status_code == 200:
                assert node.parent_id is not None
                self.followed[_operation_id(recorder.cases[node.parent_id]), _operation_id(node)] += 1


def _operation_id(node: CaseNode) -> str:
    operation_id: str = node.value.operation.definition.raw["operationId"]
    return operation_id


def _is_by_location(node: CaseNode) -> bool:
    parameters = {} if node.transition is None else node.transition.parameters
    return any(
        "$response.header.Location" in str(it.definition) for group in parameters.values() for it in group.values()
    )


def _shown(recorder: RecordedScenario, case_id: str) -> str:
    interaction = recorder.interactions.get(case_id)
    if interaction is None:
        return "(no answer)"
    request, response = interaction.request, interaction.response
    answer = None if response is None else (response.status_code, response.content[:500])
    return f"{request.method} {request.uri}\n{request.headers}\n{request.body!r}\n{answer}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run for all tests here."""
    config = SchemathesisConfig.from_path(Path(__file__).with_name("schemathesis.toml"))
    run = Run()
    with living(tmp_path_factory.mktemp("live")) as live:
        schema = schemathesis.openapi.from_wsgi("/openapi.json", Api(live).app, config=config)
        run.collect(from_schema(schema).execute())
    return run


def test_no_check_fails(run: Run) -> None:
    """The service conforms to its document for any input."""
    assert not run.troubles, "\n".join(run.troubles)
    assert not run.failures, "\n\n".join(run.failures[:10])


def test_every_phase_covers_every_operation(run: Run) -> None:
    """Every operation was tested, and valid data succeeded wherever generated values can."""
    assert run.phases.issuperset(TESTING_PHASES)
    operations = {operation_id for operation_id, _, _ in run.statuses}
    succeeded = {operation_id for operation_id, mode, status in run.statuses if mode == "positive" and status < 300}
    assert operations - succeeded <= HARD_TO_GUESS


def test_links_from_location_are_followed(run: Run) -> None:
    """The resource that ``Location`` names exists. Which links are followed is random."""
    assert run.followed.total() > 0

"""The judgement of real processes reports every kind of falsified evidence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.processes.client import Load, Log, Read, Seen, Sent
from tests.processes.installation import Books, Installation, installed
from tests.processes.judgement import Witness, judge
from tests.simulation.history import History


@dataclass
class Evidence:
    """The evidence of one run from clients, provider and store."""

    log: Log
    books: Books
    history: History

    @property
    def verdict(self) -> list[str]:
        """Every broken promise."""
        return judge(self.log, self.books, self.history, plain=True)

    def first_accepted(self) -> Sent:
        """The first deposit that was accepted."""
        return self.log.with_status(202)[0]

    def without(self, transaction_id: str | None) -> None:
        """Remove a transaction's events from the store."""
        for dump in self.history.entries:
            dump["events"] = [event for event in dump.get("events", ()) if str(transaction_id) not in event["body"]]

    def copied(self) -> Evidence:
        """A copy of the evidence, to falsify."""
        log = Log([replace(sent) for sent in self.log.sent], [*self.log.reads], [*self.log.seen])
        return Evidence(log, copy.deepcopy(self.books), History(copy.deepcopy(self.history.entries)))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """The evidence of a few deposits without faults."""
    with installed(tmp_path_factory.mktemp("good")) as installation:
        installation.simulator()
        installation.service()
        log, witness = Log(), Witness(installation.database_url)
        with Load(log, installation.port, deposits=40):
            pass
        witness.wait_for_rest()
        witness.look()
        yield Evidence(log, installation.books(), witness.history_at_rest())


def test_a_line_of_the_provider_is_read_when_it_is_whole(installation: Installation) -> None:
    """A line that the provider is still writing is not part of its books; the lines before it are."""
    installation.simulator()
    with (installation.folder / "ledger.memory.jsonl").open("ab", buffering=0) as memory:
        memory.write(b'{"id": "A-1"}\n{"id": ')
        assert installation.books().taken == [{"id": "A-1"}]
        memory.write(b'"A-2"}\n')
        assert installation.books().taken == [{"id": "A-1"}, {"id": "A-2"}]


def test_good_evidence_is_accepted(good: Evidence) -> None:
    """The judgement reports nothing about a run without faults."""
    assert good.copied().verdict == []
    assert len(good.log.with_status(202)) == 40


def test_a_late_answer_may_have_the_final_status(good: Evidence) -> None:
    """An answer may have the final status if its commit was uncertain until others had done the work."""
    evidence = good.copied()
    evidence.first_accepted().said = "completed"
    assert evidence.verdict == []


def _lost(it: Evidence) -> None:
    it.without(it.first_accepted().transaction_id)


def _told_another_id(it: Evidence) -> None:
    it.first_accepted().transaction_id = "another"


def _told_another_end(it: Evidence) -> None:
    it.first_accepted().said = "failed"


def _stored_in_spite_of_503(it: Evidence) -> None:
    sent = it.first_accepted()
    sent.status, sent.transaction_id = 503, None


def _stored_twice(it: Evidence) -> None:
    one, other = it.log.with_status(202)[:2]
    before, other.number = other.number, one.number
    for dump in it.history.entries:
        for event in dump.get("events", ()):
            event["body"] = event["body"].replace(f'"request":"{before}"', f'"request":"{one.number}"')


def _effect(at: str = "gatewayA", **changes: str | None) -> Callable[[Evidence], None]:
    """One more movement of money, similar to the first one at a gateway."""

    def falsify(it: Evidence) -> None:
        like = next(effect for effect in it.books.effects if effect["gateway"] == at)
        it.books.effects.append({**like, **changes})

    return falsify


def _sent_without_a_record(it: Evidence) -> None:
    like = next(effect for effect in it.books.effects if effect["gateway"] == "gatewayB")
    it.books.taken.append({**like, "id": None})


def _sent_once_more_without_an_effect(it: Evidence) -> None:
    like = next(effect for effect in it.books.effects if effect["gateway"] == "gatewayB")
    it.books.taken.append({**like, "id": "B-1000", "truth": "declined"})


def _no_effect(it: Evidence) -> None:
    del it.books.effects[0]


def _failed(it: Evidence) -> None:
    table: dict[str, Any] = next(entry for entry in it.history.entries if entry["what"] == "tables")
    table["transactions"][next(iter(table["transactions"]))] = ["failed", None]


def _forgotten_tail(it: Evidence) -> None:
    dump = next(entry for entry in it.history.entries if entry["what"] == "dump" and entry["when"] == "rest")
    del dump["events"][-1]


def _not_found(it: Evidence) -> None:
    it.log.reads.append(Read(1, str(it.first_accepted().transaction_id), 404, None))


def _went_on_after_its_end(it: Evidence) -> None:
    known = str(it.first_accepted().transaction_id)
    it.log.reads += [Read(1, known, 200, "failed"), Read(2, known, 200, "completed")]


def _another_past(it: Evidence) -> None:
    it.log.seen.append(Seen(1, it.first_accepted().customer, ((1, "00" * 32),), 1))


def _went_back(it: Evidence) -> None:
    it.log.seen += [Seen(99, "c1", (), 5), Seen(99, "c1", (), 4)]


def _refused(it: Evidence) -> None:
    it.log.sent.append(Sent(10_000, "c1", "1.00", status=500))


@pytest.mark.parametrize(
    ("falsify", "promise"),
    [
        (_lost, "1:"),
        (_told_another_id, "1:"),
        (_told_another_end, "1:"),
        (_stored_twice, "1:"),
        (_refused, "1:"),
        (_effect(), "3:"),
        (_effect(reference="unknown", key="unknown"), "3:"),
        (_effect(key="fresh"), "3:"),
        (_effect("gatewayB"), "3:"),
        (_effect("gatewayB", id="B-1000"), "3:"),
        (_effect("gatewayB", gateway="gatewayA"), "3:"),
        (_sent_without_a_record, "3:"),
        (_sent_once_more_without_an_effect, "3:"),
        (_no_effect, "4:"),
        (_failed, "4:"),
        (_forgotten_tail, "5:"),
        (_another_past, "5:"),
        (_went_on_after_its_end, "6:"),
        (_not_found, "11:"),
        (_went_back, "11:"),
        (_stored_in_spite_of_503, "14:"),
    ],
)
def test_falsified_evidence_is_reported(good: Evidence, falsify: Callable[[Evidence], None], promise: str) -> None:
    """Each promise has at least one mutation that is reported under its number."""
    evidence = good.copied()
    falsify(evidence)
    assert any(found.startswith(promise) for found in evidence.verdict), evidence.verdict

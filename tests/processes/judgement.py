"""What became of everything, judged from what outsiders hold: the clients' log, the provider's ledger, the store.

The promises and most rules are those of ``tests.simulation.checker``; here a history is made for it, and what only
real clients can see is judged beside it. Nothing here knows how the service was started, killed or stopped.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from store.factory import open_audit
from tests.processes.client import Log, Sent
from tests.processes.installation import CHECKOUT
from tests.processes.process import PATIENCE_S
from tests.simulation.checker import violations
from tests.simulation.history import History

_ANSWERS: Final = {202: "accepted", 503: "not-stored", 504: "uncertain", None: "none"}
_TERMINAL: Final = frozenset({"completed", "failed"})
_POLL_S: Final = 0.2


class Witness:
    """Dumps the store's streams, from a process of its own, at several times of one installation's life.

    Look only while a service has the database open: the last one to close it tidies up what a crash left, and the
    service shall meet that as it is.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._history = History()

    def look(self, when: str = "while it runs") -> None:
        """Write down all streams as they are now."""
        with open_audit(self._url, root=CHECKOUT) as audit:
            for stream in audit.streams():
                events = [
                    {"version": event.version, "body": event.body.decode(), "hash": event.hash.hex()}
                    for event in audit.events(stream)
                ]
                self._history.add("dump", time.monotonic(), when=when, stream=list(stream), events=events)
                if when == "rest":
                    self._history.add(
                        "tables",
                        time.monotonic(),
                        stream=list(stream),
                        transactions={row.transaction_id: row.status.value for row in audit.transactions(stream)},
                        balances={currency: [it.available, it.reserved] for currency, it in audit.balances(stream)},
                        unfinished=list(audit.unfinished(stream)),
                    )

    def unfinished(self) -> int:
        """How many transactions still have work."""
        with open_audit(self._url, root=CHECKOUT) as audit:
            return sum(len(audit.unfinished(stream)) for stream in audit.streams())

    def wait_for_rest(self) -> None:
        """Wait until nothing is left to do, or for long enough: whatever is left then is for the judge to tell."""
        deadline = time.monotonic() + PATIENCE_S
        while self.unfinished() and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def history_at_rest(self) -> History:
        """Everything that was looked at, and the whole store as it is now."""
        self.look("rest")
        self._history.add("rest", time.monotonic(), outstanding=0)
        return self._history


def judge(log: Log, ledger: Sequence[Mapping[str, str]], history: History, *, plain: bool) -> list[str]:
    """Every broken promise, as a sentence. ``plain``: the provider had no reason to decline anything."""
    history = History([*history.entries])
    recorded = _recorded(history)
    for sent in log.sent:
        fields = {"id": _id_of(sent, recorded), "customer": sent.customer, "amount": sent.amount, "currency": "USD"}
        history.add("sent", 0.0, **fields)
        answer = _ANSWERS.get(sent.status, "refused")
        history.add("answer", 0.0, id=fields["id"], answer=answer, status=sent.said)
    for line in ledger:
        history.add("effect", 0.0, key=line["reference"], amount=line["amount"], currency=line["currency"])
    found = violations(history)
    found += _requests(log, recorded)
    found += [
        f"3: {line['key']} is the key of an effect of {line['reference']}"
        for line in ledger
        if line["key"] != line["reference"]
    ]
    found += _readers(log, history)
    if plain:
        found += _plain(history)
    return found


def _recorded(history: History) -> dict[str, list[str]]:
    """The transactions on record by the number of the request that led to them."""
    recorded: dict[str, list[str]] = defaultdict(list)
    for dump in history.of("dump"):
        if dump["when"] == "rest":
            for event in dump["events"]:
                body: dict[str, Any] = json.loads(event["body"])
                if body["type"] == "DepositReceived":
                    recorded[body["data"]["details"]["request"]].append(body["data"]["transaction_id"])
    return recorded


def _id_of(sent: Sent, recorded: Mapping[str, list[str]]) -> str:
    on_record = recorded.get(str(sent.number))
    return sent.transaction_id or (on_record[0] if on_record else f"request {sent.number}")


def _requests(log: Log, recorded: Mapping[str, list[str]]) -> Iterator[str]:
    """Promise 1 by request: none or one event each, and the id that the client was told."""
    for sent in log.sent:
        ids = recorded.get(str(sent.number), [])
        if len(ids) > 1:
            yield f"1: request {sent.number} led to {len(ids)} transactions"
        if ids and sent.transaction_id is not None and ids != [sent.transaction_id]:
            yield f"1: request {sent.number} was told {sent.transaction_id} and is on record as {ids}"
        if sent.status not in _ANSWERS:
            yield f"1: request {sent.number} is a good one and was answered {sent.status}"


def _readers(log: Log, history: History) -> Iterator[str]:
    """Promises 5 and 11: who reads meanwhile finds everything that was accepted, and never less than before."""
    for read in log.reads:
        if read.answered == 404:
            yield f"11: {read.transaction_id} was accepted and then not found"
    ended: dict[str, str | None] = {}
    for read in log.reads:
        before = ended.setdefault(read.transaction_id, read.status) if read.status in _TERMINAL else None
        if before is not None and before != read.status:
            yield f"6: {read.transaction_id} was {before}, and later {read.status}"
    versions: dict[tuple[int, str], int] = {}
    final = {
        dump["stream"][1]: [event["hash"] for event in dump["events"]]
        for dump in history.of("dump")
        if dump["when"] == "rest"
    }
    for seen in log.seen:
        before_version = versions.get((seen.reader, seen.customer), 0)
        if seen.version < before_version:
            yield f"11: {seen.customer} was at version {before_version}, and later at {seen.version}"
        versions[seen.reader, seen.customer] = seen.version
        hashes = [hash_ for _, hash_ in seen.events]
        if [version for version, _ in seen.events] != list(range(1, len(hashes) + 1)):
            yield f"5: the events of {seen.customer} were not numbered 1, 2, 3 and so on"
        if final.get(seen.customer, [])[: len(hashes)] != hashes:
            yield f"5: what was read of {seen.customer} is no prefix of its stream"


def _plain(history: History) -> Iterator[str]:
    for table in history.of("tables"):
        for key, status in table["transactions"].items():
            if status == "failed":
                yield f"4: {key} failed, and nobody had a reason to decline it"

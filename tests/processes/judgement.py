"""Judges a run from external evidence: the clients' log, the provider's ledger and the store.

The promises and most rules are those of ``tests.simulation.checker``. This module builds a history for the checker, and
adds rules about the answers to real clients. It does not depend on how the service was started, killed or stopped.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.events import Kind
from store.backends import backend_of
from store.port import StreamKey
from store.queries import Audit
from tests.processes.client import Log, Sent
from tests.processes.installation import CHECKOUT, Books
from tests.processes.process import PATIENCE_S
from tests.simulation.checker import violations
from tests.simulation.history import History

_ANSWERS: Final = {202: "accepted", 503: "not-stored", 504: "uncertain", None: "none"}
_HONOURS_KEYS: Final = "gatewayA"
_RECEIVED: Final = "Received"
_SUBMITTED: Final = "Submitted"
"""Ends of the types of events."""
_TERMINAL: Final = frozenset({"completed", "voided", "failed"})
_AUTHORIZATION: Final = "authorization"
"""The kind of a ledger's line about money that is held."""
_POLL_S: Final = 0.2


class Witness:
    """Dumps the store's streams at several times, from a separate process.

    Look only while a service has the database open. The last process that closes the database cleans up after a crash,
    but the service must find the database as the crash left it.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._history = History()

    def look(self, when: str = "while it runs") -> None:
        """Write down all streams as they are now."""
        with backend_of(self._url, root=CHECKOUT).audit() as audit:
            for stream in audit.streams():
                events = [
                    {"version": event.version, "body": event.body.decode(), "hash": event.hash.hex()}
                    for event in audit.events(stream)
                ]
                self._history.add("dump", time.monotonic(), when=when, stream=list(stream), events=events)
                if when == "rest":
                    self._write_down_tables(audit, stream)

    def _write_down_tables(self, audit: Audit, stream: StreamKey) -> None:
        self._history.add(
            "tables",
            time.monotonic(),
            when="rest",
            stream=list(stream),
            transactions={
                row.transaction_id: [row.status.value, row.gateway_reference] for row in audit.transactions(stream)
            },
            amounts={
                row.transaction_id: [row.captured_minor, row.refunded_minor, row.refunding_minor]
                for row in audit.transactions(stream)
                if row.kind is Kind.DEPOSIT
            },
            balances={currency: [it.available, it.reserved] for currency, it in audit.balances(stream)},
            reviews=[[row.transaction_id, row.state] for row in audit.reviews(stream)],
            unfinished=list(audit.unfinished(stream)),
        )

    def unfinished(self) -> int:
        """The number of transactions that still have work."""
        with backend_of(self._url, root=CHECKOUT).audit() as audit:
            return sum(len(audit.unfinished(stream)) for stream in audit.streams())

    def statuses(self) -> list[str]:
        """The statuses of all transactions."""
        with backend_of(self._url, root=CHECKOUT).audit() as audit:
            return [row.status.value for stream in audit.streams() for row in audit.transactions(stream)]

    def wait_for_rest(self) -> None:
        """Wait until no work is left, but not without limit: the judge reports work that remains."""
        deadline = time.monotonic() + PATIENCE_S
        while self.unfinished() and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def history_at_rest(self) -> History:
        """All dumps so far, and a dump of the whole store as it is now."""
        self.look("rest")
        self._history.add("rest", time.monotonic(), outstanding=0)
        return self._history


def judge(log: Log, books: Books, history: History, *, plain: bool) -> list[str]:
    """Every broken promise, as a sentence. ``plain``: the provider had no reason to decline any deposit."""
    history = History([*history.entries])
    recorded, ends = _recorded(history), _ends(history)
    for sent in log.sent:
        key = _id_of(sent, recorded)
        history.add(
            "sent",
            0.0,
            id=key,
            kind=sent.kind,
            parent=sent.parent_id,
            gateway=sent.gateway,
            customer=sent.customer,
            amount=sent.amount,
            currency="USD",
        )
        # If a commit was uncertain until another process had done the work, the answer shows the later status.
        said = "pending" if sent.said in _TERMINAL and sent.said == ends.get(key) else sent.said
        history.add("answer", 0.0, id=key, answer=_ANSWERS.get(sent.status, "refused"), status=said, code=sent.code)
    _add_provider(history, books)
    found = violations(history)
    found += _requests(log, recorded)
    found += _gateways(books, history)
    found += _readers(log, history)
    if plain:
        found += _plain(history)
    return found


def _add_provider(history: History, books: Books) -> None:
    """Add the provider's books in the form that the checker reads. The events name each transaction's customer."""
    for name in ("gatewayA", "gatewayB"):
        history.add("gateway", 0.0, name=name, keys=name == _HONOURS_KEYS, looks_up=True)
    customers = {data["transaction_id"]: customer for _, customer, data in _received(history)}
    deposits = {line["id"]: line["reference"] for line in (*books.effects, *books.taken)}
    fates: dict[str, list[list[str | None]]] = defaultdict(list)
    for line in books.effects:
        key = line["reference"]
        fields = {name: line[name] for name in ("gateway", "amount", "currency", "id")}
        if line["kind"] == _AUTHORIZATION:
            history.add("hold", 0.0, key=key, customer=customers.get(key), kind="deposit", **fields)
        else:
            fields |= {"kind": line["kind"], "parent": deposits.get(line.get("original"))}
            history.add("effect", 0.0, key=key, customer=customers.get(key), **fields)
        fates[key].append([line["id"], None])
    for line in books.taken:
        fates[line["reference"]].append([line["id"], line.get("code")])
        if line.get("truth") == "cancelled":
            history.add("release", 0.0, gateway=line["gateway"], key=line["reference"], by="gateway")
    for key, of_key in fates.items():
        history.add("truth", 0.0, key=key, fates=of_key)


def _bodies(history: History) -> Iterator[dict[str, Any]]:
    """All events in the last dump."""
    for dump in history.of("dump"):
        if dump["when"] == "rest":
            for event in dump["events"]:
                yield json.loads(event["body"])


def _events(history: History) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Type, customer and data of all events in the last dump."""
    for body in _bodies(history):
        yield body["type"], body["stream_id"], body["data"]


def _received(history: History) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Those of them that received a transaction."""
    return (each for each in _events(history) if each[0].endswith(_RECEIVED))


def _recorded(history: History) -> dict[str, list[str]]:
    """The transactions on record, by the number of the request that created them."""
    recorded: dict[str, list[str]] = defaultdict(list)
    for body in _bodies(history):
        if body["type"].endswith(_RECEIVED):
            number = body["data"]["details"].get("request") or body["metadata"]["correlation_id"]
            recorded[number].append(body["data"]["transaction_id"])
    return recorded


def _ends(history: History) -> dict[str, str]:
    """The last status of each transaction."""
    tables = [table["transactions"] for table in history.of("tables")]
    return {key: status for transactions in tables for key, (status, _) in transactions.items()}


def _id_of(sent: Sent, recorded: Mapping[str, list[str]]) -> str:
    on_record = recorded.get(str(sent.number))
    return sent.transaction_id or (on_record[0] if on_record else f"request {sent.number}")


def _requests(log: Log, recorded: Mapping[str, list[str]]) -> Iterator[str]:
    """Promise 1 by request: each led to at most one event, with the id in the answer."""
    for sent in log.sent:
        ids = recorded.get(str(sent.number), [])
        if len(ids) > 1:
            yield f"1: request {sent.number} led to {len(ids)} transactions"
        if ids and sent.transaction_id is not None and ids != [sent.transaction_id]:
            yield f"1: request {sent.number} was answered with {sent.transaction_id} and is on record as {ids}"
        if sent.status not in _ANSWERS and sent.parent_id is None:
            yield f"1: request {sent.number} is valid and was answered {sent.status}"


def _gateways(books: Books, history: History) -> Iterator[str]:
    """Promise 3 by gateway: with keys, all attempts have one key; without, each is on record before it is sent."""
    chosen = {data["transaction_id"]: data["gateway"] for _, _, data in _received(history)}
    submissions = Counter(data["transaction_id"] for kind, _, data in _events(history) if kind.endswith(_SUBMITTED))
    for line in (*books.effects, *books.taken):
        reference, gateway = line["reference"], line["gateway"]
        if line["key"] != (reference if gateway == _HONOURS_KEYS else None):
            yield f"3: {reference} was sent to {gateway} under the key {line['key']}"
        if chosen.get(reference, gateway) != gateway:
            yield f"3: {reference} was sent to {gateway}, but was ordered for {chosen[reference]}"
    for reference, times in _asked_without_key(books).items():
        if times > submissions[reference]:
            yield f"3: {reference} was sent {times} times, and {submissions[reference]} attempts are on record"
    for reference in submissions:
        if chosen.get(reference) == _HONOURS_KEYS:
            yield f"3: {reference} has a record of its submission, which a gateway with keys does not need"


def _asked_without_key(books: Books) -> Counter[str]:
    """Lower bounds on the requests to the provider by reference: its books do not contain requests that were lost."""
    accepted = {
        (line["reference"], line["id"]) for line in (*books.effects, *books.taken) if line["key"] is None and line["id"]
    }
    lost = [line["reference"] for line in books.taken if line["key"] is None and line["id"] is None]
    return Counter(reference for reference, _ in accepted) + Counter(lost)


def _readers(log: Log, history: History) -> Iterator[str]:
    """Promises 5 and 11: later reads return every accepted transaction, and never an older state."""
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
            yield f"5: the events that were read of {seen.customer} are no prefix of its stream"


def _plain(history: History) -> Iterator[str]:
    for table in history.of("tables"):
        for key, (status, _) in table["transactions"].items():
            if status == "failed":
                yield f"4: {key} failed, and the provider had no reason to decline it"

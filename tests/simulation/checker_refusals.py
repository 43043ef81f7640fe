"""Converse of promise 7: no withdrawal is refused if the balance sufficed all the time that it waited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.simulation.checker_keys import SHORT
from tests.simulation.folding import minor
from tests.simulation.history import History

Entry = Mapping[str, Any]
TAKING: Final = frozenset({"WithdrawalReceived", "RefundReceived"})
GIVING_BACK: Final = frozenset({"WithdrawalFailed", "RefundFailed"})


def refusal_violations(history: History) -> Iterator[str]:
    """A withdrawal, refund or correction is refused only if the balance was too low at some time while it waited.

    A repetition of a refusal under the same key needs no low balance again.
    """
    watch = _Balances()
    for entry in history.entries:
        match entry["what"]:
            case "sent" | "adjusting":
                watch.wait(entry)
            case "answer" | "ordered" if entry.get("order", "adjusting") == "adjusting":
                yield from watch.answered(entry)
            case "write":
                watch.written(entry)


class _Balances:
    def __init__(self) -> None:
        self._available: dict[tuple[str, str], int] = {}
        self._stored: dict[str, tuple[tuple[str, str], int, bool]] = {}
        self._waiting: dict[str, Entry] = {}
        self._least: dict[str, int] = {}
        self._seen: set[str] = set()

    def wait(self, request: Entry) -> None:
        key = request["id"]
        self._waiting[key] = request
        self._least[key] = self._available.get((request["customer"], request["currency"]), 0)

    def answered(self, answer: Entry) -> Iterator[str]:
        request = self._waiting.pop(answer["id"], None)
        if request is None or answer["answer"] != "refused" or answer.get("code") not in {None, SHORT}:
            return
        least = self._least[answer["id"]]
        if request["amount"] is not None and least >= _taken(request):
            yield f"7: {answer['id']} was refused although at least {least} was available all the time"

    def written(self, write: Entry) -> None:
        for event_id, kind_of_event, data in (event for part in write["parts"] for event in part["events"]):
            if event_id not in self._seen:
                self._seen.add(event_id)
                self._follow(write["stream"][1], kind_of_event, data)
        for key, request in self._waiting.items():
            now = self._available.get((request["customer"], request["currency"]), 0)
            self._least[key] = min(self._least[key], now)

    def _follow(self, customer: str, kind_of_event: str, data: Mapping[str, Any]) -> None:
        if kind_of_event == "BalanceAdjusted":
            self._move((customer, data["currency"]), minor(data["amount"], data["currency"]))
        if kind_of_event.endswith("Received"):
            amount = minor(data["amount"], data["currency"])
            self._stored[data["transaction_id"]] = (customer, data["currency"]), amount, data.get("reserved", False)
        if kind_of_event in {"DepositCompleted", *TAKING, *GIVING_BACK}:
            account, amount, reserved = self._stored[data["transaction_id"]]
            if "captured_amount" in data:
                amount = minor(data["captured_amount"], data["currency"])
            if kind_of_event == "DepositCompleted" or reserved:
                self._move(account, -amount if kind_of_event in TAKING else amount)

    def _move(self, account: tuple[str, str], amount: int) -> None:
        self._available[account] = self._available.get(account, 0) + amount


def _taken(request: Entry) -> int:
    """The amount by which ``request`` reduces the available balance."""
    amount = minor(request["amount"], request["currency"])
    if request["what"] == "adjusting":
        return -amount
    return amount if request["kind"] in {"withdrawal", "refund"} else 0

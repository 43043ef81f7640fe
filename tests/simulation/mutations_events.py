"""Mutations of what relays and the broker did: see ``mutations``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.simulation.history import History
from tests.simulation.mutations_callbacks import first

Entry = dict[str, Any]
Falsify = Callable[[History], None]


def has_deliveries(history: History) -> bool:
    """Whether events were published, refused and skipped, hints arrived, and leases ended before another owner led."""
    leaders = {entry["process"] for entry in history.of("led") if entry["name"] == "events"}
    return (
        len(leaders) > 1
        and all(any(_takeovers(history, name)) for name in ("events", "work"))
        and any(entry["moved"] for entry in _advances(history))
        and any(entry["action"] == "skip" for entry in history.of("moved"))
        and any(entry["version"] > 1 for entry in history.of("delivered"))
        and bool(history.of("hinted") and history.of("read"))
        and any(entry["verb"] == "submit" for entry in history.of("call"))
    )


def _advances(history: History) -> list[Entry]:
    return [entry for entry in history.entries if entry["what"] == "advanced" and entry["name"] == "events"]


def _advance(history: History) -> Entry:
    found: Entry = first(entry for entry in _advances(history) if entry["moved"])
    return found


def _of(history: History, what: str, key: str) -> list[Entry]:
    return [entry for entry in history.entries if entry["what"] == what and entry["id"] == key]


def _place(history: History, entry: Entry) -> int:
    return next(number for number, each in enumerate(history.entries) if each is entry)


def _drop(history: History, entries: list[Entry]) -> None:
    dropped = {id(entry) for entry in entries}
    history.entries[:] = [entry for entry in history.entries if id(entry) not in dropped]


def _move_before(history: History, entries: list[Entry], place: Entry) -> None:
    _drop(history, entries)
    at = _place(history, place)
    history.entries[at:at] = entries


def _insert_after(history: History, place: Entry, entry: Entry) -> None:
    history.entries.insert(_place(history, place) + 1, entry)


def _follower(history: History, what: str) -> tuple[Entry, Entry]:
    """The first entries about an event that has a predecessor, and about that one."""
    seen: dict[tuple[str, str, int], Entry] = {}
    keys = {entry["id"]: (*entry["stream"], entry["version"]) for entry in history.of("published")}
    for entry in history.entries:
        if entry["what"] == what and keys[entry["id"]] not in seen:
            seen[keys[entry["id"]]] = entry
    followers = ((entry, seen.get((name, key, at - 1))) for (name, key, at), entry in seen.items())
    found: tuple[Entry, Entry] = first((entry, before) for entry, before in followers if before is not None)
    return found


# events


def _never_delivered(history: History) -> None:
    key = first(iter(history.of("delivered")))["id"]
    _drop(history, _of(history, "delivered", key))


def _never_published(history: History) -> None:
    """The feed was read past an event, and the checkpoint moved past it."""
    key = _passed(history)
    for what in ("published", "confirmed", "delivered"):
        _drop(history, _of(history, what, key))


def _passed(history: History) -> str:
    """The event at the position of the first move of the checkpoint."""
    position = _advance(history)["position"]
    key: str = first(entry for entry in history.of("published") if entry["position"] == position)["id"]
    return key


def _checkpoint_before_confirms(history: History) -> None:
    advance, confirmed = _advance(history), _of(history, "confirmed", _passed(history))
    _move_before(history, [advance], confirmed[0])


def _not_confirmed(history: History) -> None:
    _drop(history, _of(history, "confirmed", _passed(history)))


def _order_of_waves_ignored(history: History) -> None:
    later, earlier = _follower(history, "published")
    _move_before(history, [later], _of(history, "confirmed", earlier["id"])[0])


def _delivered_out_of_order(history: History) -> None:
    later, earlier = _follower(history, "delivered")
    _move_before(history, [later], earlier)


def _skip(history: History) -> Entry:
    found: Entry = first(entry for entry in history.entries if entry["what"] == "moved" and entry["action"] == "skip")
    return found


def _skipped_by_nobody(history: History) -> None:
    _drop(history, [_skip(history)])


def _skipped_by_the_relay(history: History) -> None:
    """The relay passes an event that the broker refused."""
    skip = _skip(history)
    leading = [each for each in history.entries[: _place(history, skip)] if each["what"] == "led"]
    token = [each["token"] for each in leading if each["name"] == "events"][-1]
    skip |= {"what": "advanced", "process": 0, "token": token, "position": skip["to"], "generation": 0, "moved": True}


def _skipped_with_others(history: History) -> None:
    _skip(history)["to"] += 1


def _skipped_elsewhere(history: History) -> None:
    _skip(history)["before"] -= 1


def _stale_leader(history: History) -> None:
    advance = _advance(history)
    _insert_after(history, advance, {**advance, "token": advance["token"] - 1})


def _went_back(history: History) -> None:
    advance = _advance(history)
    _insert_after(history, advance, {**advance, "position": advance["position"] - 1})


def _moved_without_a_call(history: History) -> None:
    _drop(history, [_advance(history)])


def _led(history: History) -> Entry:
    found: Entry = first(each for each in history.entries if each["what"] == "led" and each["name"] == "events")
    return found


def _two_leaders(history: History) -> None:
    _insert_after(history, _led(history), {**_led(history), "owner": "another"})


def _token_of_before(history: History) -> None:
    _insert_after(history, _led(history), {**_led(history), "token": 0})


def _takeovers(history: History, name: str) -> Iterator[tuple[Entry, Entry]]:
    """The leases of another owner than the one before, which was not given back. Each with the one before."""
    before: Entry | None = None
    for entry in history.entries:
        if entry["what"] == "resigned" and entry["name"] == name:
            before = None
        elif entry["what"] == "led" and entry["name"] == name:
            if before is not None and entry["owner"] != before["owner"]:
                yield before, entry
            before = entry


def _takes_a_live_lease(name: str) -> Falsify:
    def mutate(history: History) -> None:
        before, takeover = first(_takeovers(history, name))
        takeover["since"] = before["until"] - 0.001

    return mutate


def _another_leads_too(name: str) -> Falsify:
    """A second owner leads at once after the first, under a token of its own."""

    def mutate(history: History) -> None:
        led = first(each for each in history.entries if each["what"] == "led" and each["name"] == name)
        _insert_after(history, led, {**led, "owner": "another", "token": led["token"] + 1})

    return mutate


def _token_kept_at_a_takeover(history: History) -> None:
    before, takeover = first(_takeovers(history, "work"))
    takeover["token"] = before["token"]


def _resigned_for_another(history: History) -> None:
    """Only the owner of a lease can give it back."""
    led = first(each for each in history.entries if each["what"] == "led" and each["name"] == "work")
    _insert_after(history, led, {**led, "owner": "another", "token": led["token"] + 1})
    _insert_after(history, led, {**led, "what": "resigned", "owner": "another"})


def _announced_by_a_follower(history: History) -> None:
    _drop(history, [each for each in history.entries if each["what"] == "led" and each["name"] == "work"])


def _begins_elsewhere(history: History) -> None:
    _led(history)["position"] += 1


def _backlog_left(history: History) -> None:
    last = [each for each in _advances(history) if each["moved"]][-1]
    later = history.entries[_place(history, last) :]
    _drop(history, [last, *(each for each in later if each["what"] in {"checkpoint", "led", "advanced"})])


def _stays_for_ever(history: History) -> None:
    row = [each for each in history.entries if each["what"] == "checkpoint" and each["name"] == "events"][-1]
    row["refused"] = 1


def _published_by_a_follower(history: History) -> None:
    first(each for each in history.entries if each["what"] == "published")["process"] = 0


def _published_from_nowhere(history: History) -> None:
    first(each for each in history.entries if each["what"] == "published")["id"] = "another"


def _delivered_from_nowhere(history: History) -> None:
    first(each for each in history.entries if each["what"] == "delivered")["id"] = "another"


def _attribute(name: str) -> Falsify:
    def mutate(history: History) -> None:
        first(each for each in history.entries if each["what"] == "delivered")["attributes"][name] += "0"

    return mutate


def _data(old: str, new: str) -> Falsify:
    def mutate(history: History) -> None:
        wanted = (each for each in history.entries if each["what"] == "delivered" and old in each["data"])
        delivered = first(wanted)
        delivered["data"] = delivered["data"].replace(old, new)

    return mutate


EVENTS: Final[list[tuple[Falsify, str]]] = [
    (_never_delivered, "17: .* was never delivered"),
    (_never_published, "17: the checkpoint moved .* past .* not confirmed"),
    (_checkpoint_before_confirms, "17: the checkpoint moved .* past .* not confirmed"),
    (_not_confirmed, "17: .* was never confirmed"),
    (_order_of_waves_ignored, "17: .* was published .* predecessor is not confirmed"),
    (_delivered_out_of_order, "17: .* was delivered .* before its predecessor"),
    (_skipped_by_nobody, "17: the checkpoint is at .* without a move"),
    (_skipped_by_the_relay, "17: the checkpoint moved .* past .* not confirmed"),
    (_skipped_with_others, "17: an operator skipped .* with one command"),
    (_skipped_elsewhere, "17: an operator moved the checkpoint from"),
    (_stale_leader, "17: process .* moved the checkpoint .* under"),
    (_went_back, "17: the checkpoint went back"),
    (_moved_without_a_call, "17: the checkpoint is at .* without a move"),
    (_two_leaders, "17: .* the token of"),
    (_token_of_before, "17: .* leads under 0"),
    *((_takes_a_live_lease(name), f"leases: .* took the lease .* of {name}") for name in ("events", "work")),
    *((_another_leads_too(name), f"leases: another took the lease .* of {name}") for name in ("events", "work")),
    (_resigned_for_another, "leases: another took the lease .* of work"),
    (_token_kept_at_a_takeover, "leases: .* has token .* of work"),
    (_announced_by_a_follower, "leases: process .* announced .* and has never led"),
    (_begins_elsewhere, "17: .* begins at"),
    (_backlog_left, "17: the checkpoint is at .* long after the last fault"),
    (_stays_for_ever, "17: the relay still stays before"),
    (_published_by_a_follower, "17: process 0 published .* has never led"),
    (_published_from_nowhere, "17: another was published and is not on record"),
    (_delivered_from_nowhere, "17: another was delivered and is not on record"),
    (_attribute("id"), "17: .* other contents: id"),
    (_attribute("sequence"), "17: .* other contents: sequence"),
    (_attribute("partitionkey"), "17: .* other contents: partitionkey"),
    (_attribute("position"), "17: .* other contents: position"),
    (_data('"generation":0', '"generation":1'), "17: .* other contents: the event"),
    (_data('"hash":"', '"hash":"0'), "17: .* other contents: the event"),
    (_data('"customer_id":"', '"customer_id":"x'), "17: .* other contents: the transaction"),
]
"""Mutations of histories for which ``has_deliveries`` holds."""

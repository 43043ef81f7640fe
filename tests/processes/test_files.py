"""The database file is removed, moved or replaced under load, or has other names and mounts."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from tests.processes.installation import CHECKOUT, Installation
from tests.processes.process import free_port, wait_until
from tests.store.earlier import before_heads, everything

ACCEPTED = 202


class Answered(NamedTuple):
    """The answer to a client. ``begun_after``: the request was sent after the damage."""

    status: int | None
    transaction_id: str | None
    begun_after: bool


class Clients:
    """Clients that post deposits one after the other until they are stopped."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.harmed, self._stopped = threading.Event(), threading.Event()
        self.answered: list[Answered] = []

    def _run(self, number: int) -> None:
        while not self._stopped.is_set():
            after = self.harmed.is_set()
            try:
                answer = self._installation.deposit(customer_id=f"c{number}")
            except (OSError, http.client.HTTPException):
                self.answered.append(Answered(None, None, after))
            else:
                transaction_id = (answer.body or {}).get("transaction_id")
                self.answered.append(Answered(answer.status, transaction_id, after))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Run the clients within the block."""
        threads = [threading.Thread(target=self._run, args=[number], daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: self.count(ACCEPTED) > 20, "deposits are accepted")
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def count(self, status: int, *, after: bool = False) -> int:
        """The number of answers with this status."""
        return sum(one.status == status and one.begun_after >= after for one in self.answered)


def remove(path: Path) -> None:
    """Delete the file."""
    path.unlink()


def move(path: Path) -> None:
    """Give the file another name."""
    path.rename(path.with_name("away.db"))


def replace(path: Path) -> None:
    """Replace the file by an earlier copy."""
    path.with_name("earlier.db").replace(path)


@pytest.mark.slow
@pytest.mark.parametrize("harm", [remove, move, replace])
def test_the_file_disappears_under_load(installation: Installation, harm: Callable[[Path], None]) -> None:
    """After the damage nothing is accepted, readiness shows the reason, and earlier commands are stored."""
    path = installation.folder / "payments.db"
    assert installation.manage("migrate").wait() == 0
    shutil.copy(path, installation.folder / "earlier.db")
    installation.simulator()
    service = installation.service()
    clients = Clients(installation)
    with clients.at_work():
        harm(path)
        clients.harmed.set()
        wait_until(lambda: installation.get("/readyz").status == 503, "the service is not ready")
        wait_until(lambda: clients.count(503, after=True) > 10, "deposits are refused")
        assert "payments.db was" in str(installation.get("/readyz").body)
        assert installation.get("/v1/customers/c1").status == 503, "the service returns no data from there"
        assert installation.get("/healthz").status == 200
    assert clients.count(ACCEPTED, after=True) == 0, "a deposit is stored in the lost file"
    assert {one.status for one in clients.answered if one.begun_after} <= {503, 504}
    assert service.out.count("nothing more is stored") == 1, "logged once, with the file and the action"
    service.send(signal.SIGTERM)
    service.wait()
    if harm is move:
        (installation.folder / "away.db").rename(path)
        installation.service()
        accepted = [one.transaction_id for one in clients.answered if one.status == ACCEPTED]
        assert [it for it in accepted if installation.get(f"/v1/transactions/{it}").status != 200] == []
        installation.verify()


def test_a_service_waits_for_its_missing_file(installation: Installation) -> None:
    """A service that is restarted without its file waits for the file, and continues when it is back."""
    path = installation.folder / "payments.db"
    installation.simulator()
    service = installation.service()
    assert installation.deposit(customer_id="first").status == ACCEPTED
    service.send(signal.SIGTERM)
    service.wait()
    path.rename(installation.folder / "away.db")
    again = installation.gunicorn()
    installation.wait_for_answer(again, installation.port, "/healthz")
    wait_until(
        lambda: "payments.db is gone" in str(installation.get("/readyz").body), "readiness shows the missing file"
    )
    assert installation.deposit(customer_id="second").status == 503
    (installation.folder / "away.db").rename(path)
    installation.wait_for_answer(again, installation.port, "/readyz")
    assert installation.get("/v1/customers/first").status == 200


def test_a_service_does_not_drop_what_it_cannot_migrate(installation: Installation) -> None:
    """It logs the reason once, shows it in its readiness, and starts when the operator has removed the cause."""
    path = installation.folder / "payments.db"
    before_heads(path, "INSERT INTO balances VALUES ('main', 'ghost', 'USD', 500, 0)")
    before = everything(path)
    service = installation.gunicorn()
    installation.wait_for_answer(service, installation.port, "/healthz")
    text = "main/ghost has balances and no events: the database stays at version 9"
    wait_until(lambda: text in str(installation.get("/readyz").body), "readiness shows the stream")
    assert everything(path) == before
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("DELETE FROM balances WHERE stream_id = 'ghost'")
    installation.wait_for_answer(service, installation.port, "/readyz")
    assert service.out.count("The store cannot be opened") == 1
    assert installation.get("/v1/customers/a").status == 200


def hard_link(path: Path, other: Path) -> None:
    """Give the file a second name."""
    other.hardlink_to(path)


def without_lock(path: Path, other: Path) -> None:
    """Remove the lock file and return the same name."""
    other.symlink_to(path)
    path.with_name("payments.db.lock").unlink()


@pytest.mark.parametrize("make", [hard_link, without_lock])
def test_never_two_services(installation: Installation, make: Callable[[Path, Path], None]) -> None:
    """A second service on the same file, under any name, never becomes ready while the first one runs."""
    path, other = installation.folder / "payments.db", installation.folder / "other.db"
    installation.simulator()
    installation.service()
    make(path, other)
    port = free_port()
    second = installation.gunicorn(
        PAYMENTS_BIND=f"127.0.0.1:{port}", PAYMENTS_DATABASE_URL=f"sqlite:///{other}", PAYMENTS_LOG_FORMAT="console"
    )
    _never_accepts(installation, port, lambda: installation.wait_for_answer(second, port, "/healthz"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has mount namespaces")
def test_never_two_services_by_a_bind_mount(installation: Installation) -> None:
    """A second service on a bind mount of the file, in another mount namespace, never becomes ready."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not permitted here")
    other = installation.folder / "mounted" / "payments.db"
    other.parent.mkdir()
    other.touch()
    installation.simulator()
    installation.service()
    port = free_port()
    script = f"mount --bind {installation.folder / 'payments.db'} {other} && exec {sys.executable} -m gunicorn wsgi:app"
    second = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script],
        cwd=CHECKOUT,
        env=installation.environ(PAYMENTS_BIND=f"127.0.0.1:{port}", PAYMENTS_DATABASE_URL=f"sqlite:///{other}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        _never_accepts(installation, port, lambda: wait_until(lambda: _answers(installation, port), "it answers"))
    finally:
        second.kill()  # the installation ends its workers
        second.wait()


def _never_accepts(installation: Installation, port: int, wait_for_answer: Callable[[], None]) -> None:
    wait_for_answer()
    wait_until(
        lambda: any(
            text in str(installation.get("/readyz", port).body)
            for text in ("names (hard links)", "Another process still uses the database")
        ),
        "the second service reports why it is not ready",
    )
    assert installation.deposit(port=port, customer_id="second").status == 503
    assert installation.get("/readyz", port).status == 503


def _answers(installation: Installation, port: int) -> bool:
    try:
        return installation.get("/healthz", port).status == 200
    except (OSError, http.client.HTTPException):
        return False

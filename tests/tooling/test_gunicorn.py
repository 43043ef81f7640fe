"""gunicorn with a stub service: start, drain and stop happen in order, and errors are one line."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import pytest

from tests.tooling.checkout import PATIENCE_S, StubCheckout, end, is_free, is_locked, wait_for


def test_a_request_is_finished_between_drain_and_stop(stub_checkout: StubCheckout) -> None:
    """After SIGTERM the service drains, answers the request in progress, then stops; its logs are JSON."""
    gunicorn = stub_checkout.gunicorn()
    try:
        wait_for(lambda: stub_checkout.get("/") == 200, "the service answers")
        statuses: list[int] = []
        client = threading.Thread(target=lambda: statuses.append(stub_checkout.get("/slow")))
        client.start()
        wait_for(lambda: "request began" in stub_checkout.notes, "the service has the request")
        gunicorn.send_signal(signal.SIGTERM)
        wait_for(lambda: "service drains" in stub_checkout.notes, "the service drains")
        (stub_checkout.folder / "answer").touch()
        client.join(PATIENCE_S)
        assert gunicorn.wait(PATIENCE_S) == 0
    finally:
        end(gunicorn)
    assert statuses == [200]
    assert stub_checkout.notes == ["service started", "request began", "service drains", "service stopped"]
    lines = [json.loads(line) for line in stub_checkout.read("stdout").splitlines()]
    assert {line["logger"] for line in lines} == {"gunicorn.error"}
    assert stub_checkout.read("stderr") == ""


def test_the_service_stops_when_its_master_was_killed(stub_checkout: StubCheckout) -> None:
    """A worker stops the service and ends when its master is killed."""
    gunicorn = stub_checkout.gunicorn()
    try:
        wait_for(lambda: stub_checkout.get("/") == 200, "the service answers")
        gunicorn.kill()
        gunicorn.wait(PATIENCE_S)
        wait_for(lambda: "service stopped" in stub_checkout.notes, "the service stopped")
        wait_for(lambda: is_free(stub_checkout.port), "the worker is gone")
    finally:
        end(gunicorn)


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"PAYMENTS_WORKERS": "many"}, "PAYMENTS_WORKERS must be a whole number from 1 to 256, not 'many'\n"),
        ({"PAYMENTS_GATEWAYS_FILE": "/no.toml"}, "PAYMENTS_GATEWAYS_FILE /no.toml cannot be read: No such file or"),
    ],
)
def test_a_wrong_setting_stops_the_start(stub_checkout: StubCheckout, environ: dict[str, str], line: str) -> None:
    """A wrong setting ends gunicorn before it starts a worker, with one line and exit status 2."""
    assert stub_checkout.gunicorn(**environ).wait(PATIENCE_S) == 2
    assert stub_checkout.read("stderr").startswith(line)
    assert stub_checkout.read("stderr").count("\n") == 1
    assert stub_checkout.notes == []


def test_a_service_that_refuses_to_start_is_not_tried_again(stub_checkout: StubCheckout) -> None:
    """When wsgi.py exits with status 2, gunicorn exits with status 2 instead of starting new workers."""
    (stub_checkout.folder / "wsgi.py").write_text("import sys\nsys.stderr.write('no\\n')\nraise SystemExit(2)\n")
    assert stub_checkout.gunicorn().wait(PATIENCE_S) == 2
    assert stub_checkout.read("stderr") == "no\n"


_WRITES_THE_FOLDER = """
import os
(FOLDER / "meters").write_text(os.environ["PROMETHEUS_MULTIPROC_DIR"])
"""


def test_each_start_has_a_new_folder_for_metrics_and_leaves_none(
    stub_checkout: StubCheckout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An inherited variable is not used. The next start removes the folder of a master that was killed."""
    program = stub_checkout.folder / "wsgi.py"
    program.write_text(program.read_text() + _WRITES_THE_FOLDER)
    told = stub_checkout.folder / "meters"
    inherited = tmp_path_factory.mktemp("inherited")
    folders = []
    for how in (signal.SIGKILL, signal.SIGTERM):
        told.unlink(missing_ok=True)
        gunicorn = stub_checkout.gunicorn(PROMETHEUS_MULTIPROC_DIR=str(inherited))
        try:
            wait_for(lambda: stub_checkout.get("/") == 200, "the service answers")
            folders.append(Path(told.read_text()))
            assert folders[-1].is_dir()
            gunicorn.send_signal(how)
            gunicorn.wait(PATIENCE_S)
            wait_for(lambda: is_free(stub_checkout.port), "the worker releases the port")
            wait_for(lambda: not (folders[-1].exists() and is_locked(folders[-1])), "the worker is gone")
        finally:
            end(gunicorn)
    assert len({*folders, inherited}) == 3
    assert not any(folder.exists() for folder in folders)
    assert inherited.is_dir(), "another process owns it"

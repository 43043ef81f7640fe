"""``python -m tests.tooling.image``: run docker-compose.yml from the image, and make a deposit through it.

The image must exist (``make image``). Its containers have this machine's network, compose's user and volumes, and a
read-only root. Exit status 0: the image works; 1: it does not, and the output says why.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.processes.process import Process
from tests.tooling.checkout import CHECKOUT
from tests.tooling.composed import alone, composed, gateways_file
from tests.tooling.composition import SERVICES, WORKDIR, OnThisMachine, mounts

SCRIPT: Final = CHECKOUT / "deploy/image.sh"
DEPOSIT: Final = (
    'curl -X POST "http://localhost:8080/v1/deposit" -H "Content-Type: application/json"'
    """ -d '{"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345"}'"""
)
_HARDENED: Final = """
import os
assert os.getuid() == 10001, os.getuid()
assert os.statvfs("/").f_flag & os.ST_RDONLY, "the root can be written to"
open("/tmp/file", "w").close()
"""


def from_the_image(here: OnThisMachine, name: str) -> Process:
    """Start a service from the image, with compose's command, environment, user and volumes."""
    flags = [f"--env={variable}={value}" for variable, value in here.environment(name).items()]
    for mount in mounts(name):
        folder = here.volume(mount)
        folder.chmod(0o777)  # an engine gives a new volume to the owner of the folder that it covers
        flags.append(f"--volume={folder}:{mount.target}")
    flags += [f"--volume={here.file(name, path)}:{WORKDIR}/{path}:ro" for path in gateways_file(name).values()]
    flags.append(f"--user={SERVICES[name]['user']}")
    command = [str(SCRIPT), "run", *flags, "--", *SERVICES[name].get("command", [])]
    return Process(name, command, cwd=CHECKOUT, environ=alone({}), folder=here.folder)


def main() -> int:
    """Make a deposit through the image and return the exit status."""
    missing = subprocess.run([SCRIPT, "reason"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    if missing:
        sys.stderr.write(f"make image-test: {missing}\n")
        return 1
    user = SERVICES["service"]["user"]
    subprocess.run([SCRIPT, "run", f"--user={user}", "--", "python", "-c", _HARDENED], check=True)
    with tempfile.TemporaryDirectory(prefix="payments-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with composed(folder, from_the_image) as up:
            transaction = up.deposit(DEPOSIT)
            ledger = up.curl("curl http://localhost:8090/ledger")
            page = up.fetch("curl http://localhost:8080/swagger/index.html")
            assert [effect["amount"] for effect in ledger] == ["100.00"], ledger
            assert "swagger-ui" in page, page
    sys.stdout.write(f"{json.dumps(transaction, indent=2)}\nthe image accepts deposits, and stops on SIGTERM\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

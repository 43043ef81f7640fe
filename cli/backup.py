"""``manage.py backup``: a checked copy of the embedded store in one file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cli.command import CommandError, Exit, remark, say, service_settings
from cli.text import printable
from config import logging
from config.settings import CHECKOUT
from store.backend import Backend
from store.backends import backend_of
from store.errors import NotSupportedError, StoreError
from store.verify import Tally, verify

_PROBLEMS_MAX: Final = 20
_EPILOG: Final = """\
The command may run beside the service and does not block it. It writes to a temporary file beside FILE, syncs it,
checks it like manage.py verify, and then renames it. docs/backup.md describes how to restore a backup.

exit status:
  0    FILE is written and checked
  1    there is no new FILE; standard error has the reason
  2    an argument or a setting is wrong
  130  Ctrl-C; there is no new FILE
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the target file."""
    parser.add_argument("file", type=_file, metavar="FILE", help="the file to write; its folder must exist")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing FILE")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Write the backup, check it, and rename it to the target."""
    settings = service_settings(logging.STDERR)
    target: Path = arguments.file
    unchecked = target.with_name(f".{target.name}.{os.getpid()}.unchecked")
    try:
        backend = backend_of(settings.database_url, root=CHECKOUT)
        source_files = backend.backup_files()
        _require_free(target, source_files, overwrite=arguments.overwrite)
        backend.back_up(unchecked)
        tally = _check(backend, unchecked)
        _require_free(target, source_files, overwrite=arguments.overwrite)
        size = unchecked.stat().st_size
        unchecked.replace(target)
        _sync(target.parent)
    except NotSupportedError as error:
        raise CommandError(str(error)) from error
    except StoreError as error:
        raise CommandError(f"{target} was not written: {error}") from error
    except OSError as error:
        raise CommandError(f"{target} was not written: {error.strerror}") from error
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                unchecked.with_name(f"{unchecked.name}{suffix}").unlink(missing_ok=True)
    counted = f"{tally.streams} streams, {tally.events} events, {size} bytes, 0 problems"
    say(printable(f"{counted} in {target}, copied from {backend.file}"))
    if not tally.events:
        remark(printable(f"warning: there are no events in {backend.file}: is it the right database?"))
    return Exit.DONE


def _file(text: str) -> Path:
    path = Path(text)
    if not path.name:
        raise argparse.ArgumentTypeError(f"not the name of a file: {text!r}")
    return path


def _require_free(target: Path, source_files: Sequence[Path], *, overwrite: bool) -> None:
    """Raise CommandError when the copy must not be renamed to ``target``."""
    for name in source_files:
        if target.resolve() == name or (target.exists() and name.exists() and target.samefile(name)):
            raise CommandError(f"{target} is a file of the database itself")
    if target.is_dir():
        raise CommandError(f"{target} is a folder")
    if not target.parent.is_dir():
        raise CommandError(f"there is no folder {target.parent}")
    if not overwrite and (target.exists() or target.is_symlink()):
        raise CommandError(f"{target} exists: name another file, or permit it with --overwrite")


def _check(backend: Backend, copy: Path) -> Tally:
    """Counts of the copy. Raises CommandError when it has problems."""
    tally, problems = Tally(), 0
    with backend.audit_copy(copy) as audit:
        for problem in verify(audit, (), tally):
            problems += 1
            if problems <= _PROBLEMS_MAX:
                stream = "/".join(problem.stream) if problem.stream else "-"
                say(printable(f"{stream} version {problem.version or '-'}: {problem.text}"))
    if problems:
        raise CommandError(f"nothing was written: the database has {problems} problems, which manage.py verify lists")
    return tally


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

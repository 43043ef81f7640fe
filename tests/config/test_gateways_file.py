"""The gateways file: its tables unchanged, or one line that states what is wrong with the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config import gateways_file
from config.settings import CHECKOUT, SettingsError


def test_tables_in_order(tmp_path: Path) -> None:
    """Every gateway's table is returned unchanged, in the file's order."""
    path = tmp_path / "gateways.toml"
    path.write_text('[zebra]\nadapter = "z"\n[zebra.breaker]\nwindow_s = 10\n[ant]\n', "utf-8")
    tables = gateways_file.read(path)
    assert list(tables) == ["zebra", "ant"]
    assert tables["zebra"] == {"adapter": "z", "breaker": {"window_s": 10}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"[a]\nurl = \n", "is not TOML: Invalid value (at line 2"),
        (b"[a]\n[a]\n", "is not TOML: Cannot declare"),
        (b"[a]\nx = '\xff'\n", "is not UTF-8 text (byte 9)"),
        (b"timeout_s = 5\n[a]\n", "has 'timeout_s' outside of a gateway's table"),
        (b"# nothing\n", "names no gateway"),
        (b"[a]\nx = '\0'\n", "is not TOML: Found invalid character"),
        (b"x = " + b"[" * 5_000, "is not TOML: nested too deeply"),
        (b"[a]\nx = " + b"9" * 5_000, "is not TOML: Exceeds the limit"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes | None, words: str) -> None:
    """A file that cannot be used is refused in one line that names the file and, for TOML, the line in it."""
    path = tmp_path / "gateways.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        gateways_file.read(path)
    assert str(caught.value).startswith(f"PAYMENTS_GATEWAYS_FILE {path} ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted(CHECKOUT.glob("config/*.toml")), ids=lambda path: path.name)
def test_files_of_the_checkout(path: Path) -> None:
    """The files of the checkout can be read, and differ only in the addresses of the gateways."""
    tables = gateways_file.read(path)
    for table in tables.values():
        assert table.pop("url")
    default = gateways_file.read(CHECKOUT / "config/gateways.toml")
    for table in default.values():
        table.pop("url")
    assert tables == default


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """The byte order mark that some editors write is ignored."""
    path = tmp_path / "gateways.toml"
    path.write_bytes(b"\xef\xbb\xbf[ant]\n")
    assert list(gateways_file.read(path)) == ["ant"]


def test_a_path_that_is_not_a_file(tmp_path: Path) -> None:
    """A folder, a pipe and a device are refused without being read."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(SettingsError, match="is not a file"):
            gateways_file.read(path)

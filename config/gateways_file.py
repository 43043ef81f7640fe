"""Read the gateways file as plain TOML tables. ``gateways`` checks their content."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

from config.values import SettingsError


def read(path: Path) -> dict[str, dict[str, object]]:
    """One table per gateway, in the file's order.

    Raises SettingsError with one line: the file is missing, unreadable, not TOML (with the line in it), or has a value
    outside of a table.
    """
    name = f"PAYMENTS_GATEWAYS_FILE {path}"
    try:
        # A pipe would be empty for the workers, and a device may have no end.
        stray = not stat.S_ISREG(path.stat().st_mode)
        content = {} if stray else tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # some editors write a BOM
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror}"
        raise SettingsError(message) from None
    except UnicodeDecodeError as error:
        message = f"{name} is not UTF-8 text (byte {error.start})"
        raise SettingsError(message) from None
    except tomllib.TOMLDecodeError as error:
        message = f"{name} is not TOML: {error}"
        raise SettingsError(message) from None
    except (RecursionError, ValueError) as error:  # such as a number with more digits than Python converts
        problem = "nested too deeply" if isinstance(error, RecursionError) else error
        message = f"{name} is not TOML: {problem}"
        raise SettingsError(message) from None
    if stray:
        message = f"{name} is not a file"
        raise SettingsError(message)
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    strays = [key for key in content if key not in tables]
    if strays:
        message = f"{name} has {strays[0]!r} outside of a gateway's table"
        raise SettingsError(message)
    if not tables:
        message = f"{name} names no gateway"
        raise SettingsError(message)
    return tables

"""The commands of ``manage.py``: composition, as ``wsgi.py`` is, so no room imports it.

A command is a line of ``manage.COMMANDS`` and a module here of the same name (``dead-letters``: ``dead_letters``),
which is imported when its command is asked for, and has two functions::

    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(arguments: argparse.Namespace) -> int: ...

``run`` returns the exit status, or raises ``CommandError`` (one line for the operator, and a status) or
``SettingsError`` (status 2). What goes on standard output is what was asked for; all else is for standard error.
Standard output is written by ``cli.command.write``, which fails where it takes nothing, or by ``say``, which goes on.

Two kinds: those that work on this machine (``dev``, ``migrate``, ``simulator``, ``verify``, ``rebuild``), and those
that ask a running service over HTTP, whose actors decide (``cli.actions``).
"""

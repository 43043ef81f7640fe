"""The commands of ``manage.py``. Like ``wsgi.py`` this is composition: no other package imports it.

A command is a line of ``manage.COMMANDS`` and a module here of the same name (``dead-letters``: ``dead_letters``). The
module is imported when its command runs, and has two functions::

    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(arguments: argparse.Namespace) -> int: ...

``run`` returns the exit status, or raises ``CommandError`` (one line for the operator, and a status) or
``SettingsError`` (status 2). The result goes to standard output, everything else to standard error. ``cli.command``
writes standard output: ``write`` fails when it cannot be written, ``say`` continues.

There are two kinds of commands: local ones (``dev``, ``migrate``, ``simulator``, ``verify``, ``rebuild``), and clients
of a running service over HTTP (``cli.actions``).
"""

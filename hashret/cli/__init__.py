"""The ``hashret`` command: a click group and one file a command. Heavy imports stand inside the commands' bodies."""

from hashret.cli.group import main

__all__ = ["main"]

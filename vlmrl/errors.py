"""Exceptions that end a command with a message instead of a traceback."""


class UserError(Exception):
    """Something the user wrote or pointed at is wrong.

    The message is for the user: it names the row, file or setting, what is wrong with it, and the fix. The command
    line prints it as ``error: ...`` and exits with code 2. Faults of this package itself are other exceptions and
    keep their traceback.
    """


class ConfigError(UserError):
    """A setting is unknown or has a wrong value; the message names the setting and where it was written."""


class Interrupted(Exception):
    """A run was stopped by the user and has saved its state; the message says how to continue (exit code 130)."""

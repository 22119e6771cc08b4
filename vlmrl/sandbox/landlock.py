"""File access rules (Landlock): a list of what may be read, a list of what may be written too, nothing else.

Landlock needs Linux 5.13, no privileges, and cannot be undone by the process. It does not cover metadata: `stat` still
says whether a file exists and how long it is.
"""

import errno
import os
import stat
import struct
from collections.abc import Iterable

from vlmrl.sandbox import linux

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REGULAR = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_FIRST_VERSION = (1 << 13) - 1

_READ = _READ_FILE | _READ_DIR
# No links, sockets, pipes or devices.
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REGULAR | _REFER | _TRUNCATE
_OF_A_FILE = _READ_FILE | _WRITE_FILE | _TRUNCATE

_NETWORK = 0b11  # TCP bind and connect
_SCOPES = 0b11  # abstract unix sockets and signals end at the sandbox


def version() -> int:
    """The kernel's Landlock version, 1 or more.

    Raises:
        OSError: if the kernel has none, has it switched off, or a container forbids it.
    """
    return linux.syscall(_CREATE_RULESET, "landlock", None, 0, _VERSION_FLAG)


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Let this process read files below `readable` and read and write below `writable`. Paths that are missing are
    skipped. `no_new_privs` must be set.

    Raises:
        OSError: see `version`.
    """
    found = version()
    handled = _FIRST_VERSION
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEVICE)):
        if found >= since:
            handled |= right
    attributes = struct.pack("Q", handled)
    if found >= 4:
        attributes += struct.pack("Q", _NETWORK)
    if found >= 6:
        attributes += struct.pack("Q", _SCOPES)
    ruleset = linux.syscall(_CREATE_RULESET, "landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        for path in writable:
            _allow(ruleset, path, _WRITE & handled)
        linux.syscall(_RESTRICT_SELF, "landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as missing:
        if missing.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            return
        raise
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            rights &= _OF_A_FILE
        linux.syscall(
            _ADD_RULE, "landlock_add_rule", ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, beneath), 0
        )
    finally:
        os.close(beneath)

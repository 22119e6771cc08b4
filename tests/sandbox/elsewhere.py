"""Runs a command as it would run on another system: ``python elsewhere.py HOW COMMAND ...``

HOW is ``ordinary-user`` (root's command without any privilege), or system calls to forbid as a container engine does:
``without-namespaces``, ``without-landlock``, ``without-seccomp``.
"""

import ctypes
import os
import platform
import struct
import sys

_X86 = platform.machine() == "x86_64"
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP = 38, 22
_FORBIDDEN: dict[str, tuple[int, int | None]] = {
    "without-namespaces": (272 if _X86 else 97, None),  # unshare
    "without-landlock": (444, None),
    "without-seccomp": (157 if _X86 else 167, _SET_SECCOMP),  # prctl
}
_libc = ctypes.CDLL(None, use_errno=True)


def _call(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def become_ordinary() -> None:
    """Uid 1000 of a user namespace: on exec the kernel takes every capability away, and files stay root's own."""
    new_user = 0x10000000
    _call(_libc.unshare(new_user))
    for file, line in (("setgroups", "deny"), ("uid_map", "1000 0 1"), ("gid_map", "1000 0 1")):
        with open(f"/proc/self/{file}", "w") as mapping:
            mapping.write(line)


def forbid(number: int, first_argument: int | None) -> None:
    """Make a system call fail with EPERM here and in everything started from here."""
    load, jump_equal, give, deny, allow = 0x20, 0x15, 0x06, 0x00050001, 0x7FFF0000
    matches = [(load, 0, 0, 0), (jump_equal, 0, 3 if first_argument is not None else 1, number)]
    if first_argument is not None:
        matches += [(load, 0, 0, 16), (jump_equal, 0, 1, first_argument)]
    program = [*matches, (give, 0, 0, deny), (give, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    _call(_libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _call(_libc.prctl(_SET_SECCOMP, 2, header, 0, 0))


if __name__ == "__main__":
    how, command = sys.argv[1], sys.argv[2:]
    if how == "ordinary-user":
        become_ordinary()
    else:
        forbid(*_FORBIDDEN[how])
    os.execv(command[0], command)

"""The system calls the sandbox needs that Python has no function for, through ctypes."""

import ctypes
import os
import struct

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, what: str, *arguments: int | bytes | None) -> int:
    """Call `number` with integers and buffers; raises `OSError` naming `what`."""
    wide = (ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
    return _checked(_libc.syscall(ctypes.c_long(number), *wide), what)


def prctl(option: int, *arguments: object) -> int:
    """`prctl(2)`; the arguments left out are zero, as the kernel demands."""
    wide = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    wide += [ctypes.c_ulong(0)] * (4 - len(wide))
    return _checked(_libc.prctl(option, *wide), f"prctl {option}")


def unshare(flags: int) -> None:
    """Move this process (or, for a PID namespace, its children) into new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def drop_capabilities() -> None:
    """Give up every capability of this process, root's included."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, bytes(24)), "capset")

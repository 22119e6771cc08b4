"""A system call filter (seccomp BPF) for x86-64 and arm64: what is not listed here is denied.

The list is what CPython, numpy and matplotlib need to compute, to read files and to write into the scratch folder.
It has no sockets, no new processes, threads or programs, no signals to other processes, no tracing, no changes of
owner, mode or time stamps, no namespaces, mounts or keys. Which files may be opened is Landlock's part.
"""

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from enum import IntEnum

from vlmrl.sandbox import linux

# Numbers on (x86-64, arm64), from asm/unistd_64.h and asm-generic/unistd.h. None: arm64 has only the newer call.
_ALLOWED: dict[str, tuple[int, int | None]] = {
    # files
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "lseek": (8, 62),
    "close": (3, 57),
    "close_range": (436, 436),
    "open": (2, None),
    "openat": (257, 56),
    "creat": (85, None),
    "stat": (4, None),
    "lstat": (6, None),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fadvise64": (221, 223),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "flock": (73, 32),
    "sendfile": (40, 71),
    "copy_file_range": (326, 285),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "umask": (95, 166),
    # memory
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "brk": (12, 214),
    "membarrier": (324, 283),
    # signals to itself, timers, sleeping
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "pause": (34, None),
    "alarm": (37, None),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    # locks and scheduling
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    # facts about itself and the clock
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getpgrp": (111, None),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "times": (100, 153),
    "sysinfo": (99, 179),
    "uname": (63, 160),
    "getrandom": (318, 278),
    "time": (201, None),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    # the end
    "wait4": (61, 260),
    "exit": (60, 93),
    "exit_group": (231, 94),
}

# Allowed only with these arguments.
_KILL, _TGKILL = (62, 129), (234, 131)
_IOCTL, _IOCTL_REQUESTS = (16, 29), (0x5401, 0x5450, 0x5451)  # TCGETS (isatty), FIONCLEX, FIOCLEX
_FCNTL, _FCNTL_COMMANDS = (72, 25), (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # duplicate, flags, locks; not F_SETOWN, F_SETSIG
_PRLIMIT64 = (302, 261)

# glibc falls back to an older call if these do not exist, and gives up if they are forbidden. It tries clone3 before
# clone; numbers above the newest call known here may be anything.
_CLONE3 = 435
_NEWEST_KNOWN = 467


@dataclass(frozen=True, slots=True)
class Architecture:
    """One processor architecture: the kernel's name for it and its column in the tables above."""

    audit: int
    column: int

    def number(self, numbers: tuple[int, int | None]) -> int | None:
        """The call's number here; None if the architecture lacks it."""
        return numbers[self.column]


ARCHITECTURES = {
    "x86_64": Architecture(audit=0xC000003E, column=0),
    "aarch64": Architecture(audit=0xC00000B7, column=1),
}


class Op(IntEnum):
    """The classic BPF instructions used."""

    LOAD = 0x20
    JUMP_EQUAL = 0x15
    JUMP_GREATER_EQUAL = 0x35
    RETURN = 0x06


ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
FORBIDDEN = 0x00050000 | errno.EPERM
UNKNOWN = 0x00050000 | errno.ENOSYS

_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

Instruction = tuple[Op, int, int, int]
"""Operation, instructions to skip if true, if false, operand."""


def filter_program(architecture: Architecture, process_id: int) -> list[Instruction]:
    """The filter for the process `process_id`, which may send signals to itself alone."""
    program: list[Instruction] = [
        (Op.LOAD, 0, 0, _ARCHITECTURE_AT),
        (Op.JUMP_EQUAL, 1, 0, architecture.audit),
        (Op.RETURN, 0, 0, KILL_PROCESS),
        (Op.LOAD, 0, 0, _NUMBER_AT),
        # Includes x86's second table (x32), whose numbers start at 0x40000000.
        (Op.JUMP_GREATER_EQUAL, 0, 1, _NEWEST_KNOWN + 1),
        (Op.RETURN, 0, 0, UNKNOWN),
        (Op.JUMP_EQUAL, 0, 1, _CLONE3),
        (Op.RETURN, 0, 0, UNKNOWN),
    ]
    for numbers in _ALLOWED.values():
        number = architecture.number(numbers)
        if number is not None:
            program += [(Op.JUMP_EQUAL, 0, 1, number), (Op.RETURN, 0, 0, ALLOW)]
    for numbers, argument, values in (
        (_KILL, 0, (process_id,)),
        (_TGKILL, 0, (process_id,)),
        (_IOCTL, 1, _IOCTL_REQUESTS),
        (_FCNTL, 1, _FCNTL_COMMANDS),
    ):
        program += _if_argument(numbers[architecture.column], argument, values)
    program += _reading_limits(_PRLIMIT64[architecture.column])
    program.append((Op.RETURN, 0, 0, FORBIDDEN))
    return program


def install() -> None:
    """Filter this process's system calls from here on. `no_new_privs` must be set.

    Raises:
        OSError: if the kernel has no seccomp, or the architecture has no table here.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no system call table for {machine}, only for {', '.join(ARCHITECTURES)}")
    program = filter_program(ARCHITECTURES[machine], os.getpid())
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    seccomp_mode_filter = 2
    linux.prctl(linux.PR_SET_SECCOMP, seccomp_mode_filter, header)


def _if_argument(number: int, argument: int, values: tuple[int, ...]) -> list[Instruction]:
    """Allow `number` if the lower half of its argument, all that these calls look at, is one of `values`."""
    body: list[Instruction] = [(Op.LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)]
    for value in values:
        body += [(Op.JUMP_EQUAL, 0, 1, value), (Op.RETURN, 0, 0, ALLOW)]
    body.append((Op.RETURN, 0, 0, FORBIDDEN))
    return [(Op.JUMP_EQUAL, 0, len(body), number), *body]


def _reading_limits(number: int) -> list[Instruction]:
    """Allow prlimit64 if its pointer to new limits, 64 bits of it, is null."""
    new_limits = _ARGUMENTS_AT + 8 * 2
    body: list[Instruction] = [
        (Op.LOAD, 0, 0, new_limits),
        (Op.JUMP_EQUAL, 1, 0, 0),
        (Op.RETURN, 0, 0, FORBIDDEN),
        (Op.LOAD, 0, 0, new_limits + 4),
        (Op.JUMP_EQUAL, 1, 0, 0),
        (Op.RETURN, 0, 0, FORBIDDEN),
        (Op.RETURN, 0, 0, ALLOW),
    ]
    return [(Op.JUMP_EQUAL, 0, len(body), number), *body]

"""The filter's program for both architectures, run by a small interpreter of BPF."""

import errno

import pytest

from vlmrl.sandbox.seccomp import (
    ALLOW,
    ARCHITECTURES,
    FORBIDDEN,
    KILL_PROCESS,
    UNKNOWN,
    Architecture,
    Instruction,
    Op,
    filter_program,
)

ME = 4321

# From the kernel's tables: asm/unistd_64.h and asm-generic/unistd.h.
READ = {"x86_64": 0, "aarch64": 63}
OPENAT = {"x86_64": 257, "aarch64": 56}
EXIT_GROUP = {"x86_64": 231, "aarch64": 94}
KILL = {"x86_64": 62, "aarch64": 129}
TGKILL = {"x86_64": 234, "aarch64": 131}
IOCTL = {"x86_64": 16, "aarch64": 29}
FCNTL = {"x86_64": 72, "aarch64": 25}
PRLIMIT64 = {"x86_64": 302, "aarch64": 261}
FORBIDDEN_CALLS = {
    "socket": {"x86_64": 41, "aarch64": 198},
    "socketpair": {"x86_64": 53, "aarch64": 199},
    "connect": {"x86_64": 42, "aarch64": 203},
    "sendto": {"x86_64": 44, "aarch64": 206},
    "clone": {"x86_64": 56, "aarch64": 220},
    "execve": {"x86_64": 59, "aarch64": 221},
    "execveat": {"x86_64": 322, "aarch64": 281},
    "ptrace": {"x86_64": 101, "aarch64": 117},
    "process_vm_readv": {"x86_64": 310, "aarch64": 270},
    "unshare": {"x86_64": 272, "aarch64": 97},
    "setns": {"x86_64": 308, "aarch64": 268},
    "mount": {"x86_64": 165, "aarch64": 40},
    "bpf": {"x86_64": 321, "aarch64": 280},
    "keyctl": {"x86_64": 250, "aarch64": 219},
    "prctl": {"x86_64": 157, "aarch64": 167},
    "setrlimit": {"x86_64": 160, "aarch64": 164},
    "memfd_create": {"x86_64": 319, "aarch64": 279},
    "userfaultfd": {"x86_64": 323, "aarch64": 282},
    "perf_event_open": {"x86_64": 298, "aarch64": 241},
    "fchmodat": {"x86_64": 268, "aarch64": 53},
    "fchownat": {"x86_64": 260, "aarch64": 54},
    "utimensat": {"x86_64": 280, "aarch64": 88},
    "linkat": {"x86_64": 265, "aarch64": 37},
    "symlinkat": {"x86_64": 266, "aarch64": 36},
    "shmget": {"x86_64": 29, "aarch64": 194},
    "tkill": {"x86_64": 200, "aarch64": 130},
    "rt_sigqueueinfo": {"x86_64": 129, "aarch64": 138},
    "io_uring_setup": {"x86_64": 425, "aarch64": 425},
    "pidfd_open": {"x86_64": 434, "aarch64": 434},
    "pidfd_send_signal": {"x86_64": 424, "aarch64": 424},
}


def verdict(program: list[Instruction], audit: int, number: int, *arguments: int) -> int:
    words = {0: number, 4: audit}
    for index in range(6):
        value = arguments[index] if index < len(arguments) else 0
        words[16 + 8 * index] = value & 0xFFFFFFFF
        words[20 + 8 * index] = value >> 32
    at, loaded = 0, 0
    while True:
        op, if_true, if_false, operand = program[at]
        at += 1
        if op is Op.RETURN:
            return operand
        if op is Op.LOAD:
            loaded = words[operand]
            continue
        true = loaded == operand if op is Op.JUMP_EQUAL else loaded >= operand
        at += if_true if true else if_false


@pytest.fixture(params=list(ARCHITECTURES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def call(name: str):
    architecture: Architecture = ARCHITECTURES[name]
    program = filter_program(architecture, ME)
    return lambda number, *arguments: verdict(program, architecture.audit, number, *arguments)


def test_what_a_script_needs_is_allowed(name: str, call) -> None:
    for numbers in (READ, OPENAT, EXIT_GROUP):
        assert call(numbers[name]) == ALLOW


@pytest.mark.parametrize("forbidden", FORBIDDEN_CALLS)
def test_what_a_script_must_not_do_is_forbidden(name: str, call, forbidden: str) -> None:
    assert call(FORBIDDEN_CALLS[forbidden][name]) == FORBIDDEN


def test_signals_reach_only_the_process_itself(name: str, call) -> None:
    for numbers in (KILL, TGKILL):
        assert call(numbers[name], ME, 9) == ALLOW
        for other in (ME + 1, 1, 0, 2**64 - 1, -1 & 0xFFFFFFFF):
            assert call(numbers[name], other, 9) == FORBIDDEN


def test_descriptors_are_not_told_to_signal_others(name: str, call) -> None:
    assert call(FCNTL[name], 3, 1) == ALLOW
    for command in (8, 10, 15, 1024, 1026):  # SETOWN, SETSIG, SETOWN_EX, SETLEASE, NOTIFY
        assert call(FCNTL[name], 3, command) == FORBIDDEN
    assert call(IOCTL[name], 0, 0x5401) == ALLOW
    assert call(IOCTL[name], 0, 0x5412) == FORBIDDEN  # TIOCSTI types into a terminal


def test_limits_can_be_read_and_not_set(name: str, call) -> None:
    assert call(PRLIMIT64[name], 0, 7, 0, 0x7FFF_0000_1000) == ALLOW
    assert call(PRLIMIT64[name], 0, 7, 0x7FFF_0000_1000, 0) == FORBIDDEN
    assert call(PRLIMIT64[name], 0, 7, 1 << 32, 0) == FORBIDDEN


def test_newer_calls_do_not_exist(call) -> None:
    for number in (435, 468, 9_999, 0x40000000, 0x40000000 | 41):
        assert call(number) == UNKNOWN


def test_another_architectures_calls_end_the_process() -> None:
    i386 = 0x40000003
    for architecture in ARCHITECTURES.values():
        assert verdict(filter_program(architecture, ME), i386, 0) == KILL_PROCESS


def test_jumps_fit_the_instruction() -> None:
    for architecture in ARCHITECTURES.values():
        program = filter_program(architecture, ME)
        assert len(program) <= 4096
        assert all(0 <= skip <= 255 for _, *skips, _ in program for skip in skips)


def test_errors_carry_their_number() -> None:
    assert FORBIDDEN & 0xFFFF == errno.EPERM
    assert UNKNOWN & 0xFFFF == errno.ENOSYS

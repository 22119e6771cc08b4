"""Everything that is taken away from a script's process before the script starts, and the proof that it is gone."""

import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from vlmrl.sandbox import landlock, linux, seccomp
from vlmrl.sandbox.limits import Limits
from vlmrl.sandbox.protection import Protection


def readable_paths() -> list[str]:
    """What a script may read: the interpreter's library, installed packages, shared libraries, fonts, time zones.

    Folders that `sys.path` names outside the interpreter's own prefixes, such as a checkout installed as editable, are
    not among them.
    """
    prefixes = [Path(prefix).resolve() for prefix in {sys.prefix, sys.base_prefix}]
    libraries = [
        entry
        for entry in sys.path
        if entry and any(Path(entry).resolve().is_relative_to(prefix) for prefix in prefixes)
    ]
    shared = [f"{prefix}/lib" for prefix in prefixes] + ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"]
    system = [
        "/usr/share/fonts",
        "/usr/local/share/fonts",
        "/usr/share/zoneinfo",
        "/etc/localtime",
        "/etc/ld.so.cache",
        "/dev/urandom",
    ]
    return list(dict.fromkeys(libraries + shared + system))


def lock_down(limits: Limits, scratch: str, readable: list[str]) -> list[Protection]:
    """Confine the calling process for good and say which layers took hold."""
    layers: list[tuple[str, Callable[[], None]]] = [
        ("resource limits", lambda: _limit_resources(limits)),
        ("no new privileges", _no_new_privileges),
        ("file rules (Landlock)", lambda: landlock.restrict(readable, [scratch, os.devnull])),
        ("no capabilities", linux.drop_capabilities),
        ("system call filter (seccomp)", seccomp.install),
    ]
    _die_first_when_memory_runs_out()
    return [_attempt(name, layer) for name, layer in layers]


def prove(outside: Path) -> list[Protection]:
    """Try what a locked-down process must not be able to do. `outside` is a readable file in a writable folder.

    Only for a process that does nothing else: where a protection is missing the deed is done.
    """
    deeds: list[tuple[str, Callable[[], object]]] = [
        ("no network", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
        ("no local sockets", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
        ("no other processes", _fork),
        ("no signals to other processes", lambda: os.kill(os.getppid(), 0)),
        ("no reading outside", outside.read_bytes),
        ("no writing outside", outside.with_name("written").touch),
        ("no removing outside", outside.unlink),
        ("no reading of processes' data", Path("/proc/self/environ").read_bytes),
    ]
    return [_attempt_deed(name, deed) for name, deed in deeds]


def _attempt(name: str, layer: Callable[[], None]) -> Protection:
    try:
        layer()
    except OSError as missing:
        return Protection(name, False, missing.strerror or str(missing))
    return Protection(name, True)


def _attempt_deed(name: str, deed: Callable[[], object]) -> Protection:
    try:
        deed()
    except OSError as refused:
        if refused.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EAGAIN):
            return Protection(name, True)
        return Protection(name, False, f"tried, and it failed for another reason: {refused}")
    return Protection(name, False, "tried, and it worked")


def _limit_resources(limits: Limits) -> None:
    """Set the kernel's limits.

    A process count of 0 forbids new processes and threads to everyone but root, whom the kernel exempts: there the
    system call filter does it.
    """
    bounds = {
        resource.RLIMIT_AS: _mapped_bytes() + limits.memory_bytes,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        _, ceiling = resource.getrlimit(kind)
        if ceiling != resource.RLIM_INFINITY:
            bound = min(bound, ceiling)
        resource.setrlimit(kind, (bound, bound))


def _mapped_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


def _no_new_privileges() -> None:
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_first_when_memory_runs_out() -> None:
    """Make the script, not the trainer, the kernel's choice. A container may have made the file read-only."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

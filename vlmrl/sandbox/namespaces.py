"""Namespaces of the worker's own, where the system grants them: a second fence behind the per-script ones.

In its own PID namespace a worker is process 1: its scripts cannot even name a process outside, and when the worker
ends the kernel kills whatever is left. In its own network namespace there is no interface up. In its own IPC
namespace there is no shared memory of others. Root needs CAP_SYS_ADMIN, an ordinary user a user namespace; container
engines usually grant neither, and the sandbox does without.
"""

import os
import signal
from collections.abc import Callable

from vlmrl.sandbox import linux

_NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NETWORK = 0x08000000, 0x10000000, 0x20000000, 0x40000000
_WANTED = _NEW_PID | _NEW_NETWORK | _NEW_IPC


def _enter_as_root() -> None:
    linux.unshare(_WANTED)


def _enter_by_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    linux.unshare(_WANTED | _NEW_USER)
    # Oneself alone, under the same number; the kernel demands that setgroups is given up first.
    for file, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as mapping:
            mapping.write(line)


def enter() -> str | None:
    """Continue in a child that is process 1 of new namespaces, if the system allows it; None then.

    The calling process stays behind and ends as the child does. Otherwise nothing has changed and the result says why.
    A half-entered user namespace would be worse than none, so that each way is tried in a throwaway process first.
    """
    refusal = ""
    for way in (_enter_as_root, _enter_by_user_namespace):
        refusal = _attempt(way)
        if not refusal:
            way()
            _become_process_one()
            return None
    return refusal


def _attempt(way: Callable[[], None]) -> str:
    """Empty if `way` works in a throwaway process, the error's text otherwise."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        text = ""
        try:
            way()
        except OSError as refused:
            text = str(refused)
        os.write(theirs, text.encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


def _become_process_one() -> None:
    child = os.fork()
    if child:
        os.closerange(0, 1 << 16)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)

"""The worker: a process that has imported everything once and forks one locked-down child per script.

Started by `vlmrl.sandbox.runner` with a clean environment, never forked from the trainer. It runs no untrusted code
itself and reads nothing of what a child hands back; it counts the bytes, enforces what the kernel does not (wall time,
length of the result, disk space), kills, reaps and cleans up.
"""

import contextlib
import gc
import json
import os
import resource
import secrets
import select
import signal
import socket
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from vlmrl.sandbox import namespaces, protocol, scratch
from vlmrl.sandbox.limits import MAX_FACTS_BYTES, Limits
from vlmrl.sandbox.lockdown import lock_down, prove, readable_paths
from vlmrl.sandbox.protection import NAMESPACES, Protection

_LOOK_AT_SCRATCH_SECONDS = 0.05
_NONCE_BYTES = 16


class Job(Protocol):
    """What a worker does with a script."""

    def prepare(self) -> None:
        """Import and warm up, once, in the worker."""

    def run(self, source: str) -> tuple[dict[str, Any], bytes]:
        """Run the script in its own locked-down process; the result's facts, for JSON, and its bytes."""


class ScriptError(Exception):
    """The script failed; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: what the worker stopped it for (or nothing), signal, exit code, processor seconds."""

    stopped_for: str
    signal: int
    code: int
    cpu_seconds: float


class Worker:
    """Serves one script after the other over `channel` until the trainer closes it."""

    def __init__(self, channel: socket.socket, folder: Path, limits: Limits, job: Job, *, strict: bool) -> None:
        self._channel = channel
        self._folder = folder
        self._limits = limits
        self._job = job
        self._strict = strict
        self._owns_processes = False
        self._readable = readable_paths()

    def serve(self) -> None:
        refusal = namespaces.enter()
        self._owns_processes = refusal is None
        self._job.prepare()
        gc.collect()
        gc.freeze()  # a child's collector would otherwise touch, and so copy, every page
        protections = [Protection(NAMESPACES, refusal is None, refusal or ""), *self._proven_protections()]
        self._channel.sendall(protocol.pack({"protections": [asdict(protection) for protection in protections]}))
        while True:
            try:
                _, source = protocol.receive(self._channel)
            except protocol.Closed:
                break
            ended, result = self._run(source)
            if ended.stopped_for == "abandoned":
                break
            self._channel.sendall(protocol.pack(asdict(ended), result))
        # The trainer has closed the sandbox, or is dead and cannot tidy up itself.
        with contextlib.suppress(OSError):  # the other workers are doing the same
            scratch.remove(self._folder.parent)

    def _proven_protections(self) -> list[Protection]:
        """Lock a child down as for a script and let it try everything; its word is trusted, it runs our code."""
        outside = self._folder / "outside"
        outside.touch()
        home = self._new_scratch()
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                found = lock_down(self._limits, os.fspath(home), self._readable) + prove(outside)
                os.write(theirs, json.dumps([asdict(protection) for protection in found]).encode())
            finally:
                os._exit(0)
        os.close(theirs)
        with os.fdopen(ours, "rb") as answer:
            found = [Protection(**fields) for fields in json.loads(answer.read())]
        os.waitpid(child, 0)
        scratch.remove(home)
        return found

    def _run(self, source: bytes) -> tuple[Ended, bytes]:
        home = self._new_scratch()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            _become_the_script(self._limits, self._job, source, home, theirs, nonce, self._readable, self._strict)
        os.close(theirs)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        stopped_for, result = self._watch(ours, home)
        os.close(ours)
        self._kill(child)
        _, status = os.waitpid(child, 0)
        self._reap_strays()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        scratch.remove(home)
        code = os.waitstatus_to_exitcode(status)
        cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        ended = Ended(stopped_for, max(0, -code), max(0, code), cpu_seconds)
        if result and not stopped_for and not ended.signal and not result.startswith(nonce):
            return Ended("forged", 0, ended.code, cpu_seconds), b""
        return ended, result[_NONCE_BYTES:] if not stopped_for else b""

    def _watch(self, pipe: int, home: Path) -> tuple[str, bytes]:
        """Collect the result until the child's end of the pipe closes; or say why the child must stop now."""
        limits = self._limits
        now = time.monotonic()
        deadline, next_look = now + limits.wall_seconds, now + _LOOK_AT_SCRATCH_SECONDS
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        ready.register(self._channel, select.POLLIN | select.POLLHUP)
        result = bytearray()
        while True:
            events = dict(ready.poll(1000 * max(0.0, min(deadline, next_look) - now)))
            if self._channel.fileno() in events:  # nothing is sent while a script runs: the trainer is gone
                return "abandoned", b""
            if pipe in events:
                piece = os.read(pipe, 1 << 16)
                if not piece:
                    return "", bytes(result)
                result += piece
                if len(result) > limits.result_bytes + _NONCE_BYTES:
                    return "result", b""
            now = time.monotonic()
            if now >= deadline:
                return "wall", b""
            if now >= next_look:
                if scratch.exceeds(home, limits.scratch_bytes, limits.scratch_files):
                    return "scratch", b""
                next_look = now + _LOOK_AT_SCRATCH_SECONDS

    def _kill(self, child: int) -> None:
        for kill in (os.killpg, os.kill):  # the child may not have come to its setsid yet
            try:
                kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self._owns_processes and os.getpid() == 1:
            try:
                os.kill(-1, signal.SIGKILL)  # all of this PID namespace but its process 1, which is this one
            except ProcessLookupError:
                return

    def _reap_strays(self) -> None:
        """Collect what else ended: children that a child left behind, where no system call filter forbids them."""
        while True:
            try:
                pid, _ = os.waitpid(-1, 0 if self._owns_processes else os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return

    def _new_scratch(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="script-", dir=self._folder))


def _become_the_script(
    limits: Limits, job: Job, source: bytes, home: Path, pipe: int, nonce: bytes, readable: list[str], strict: bool
) -> NoReturn:
    """In the child: lock down, run, hand back, end. Nothing of the worker's loop may run here again."""
    try:
        os.setsid()
        os.umask(0o077)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        os.closerange(3, pipe)
        os.closerange(pipe + 1, 1 << 16)
        os.chdir(home)
        os.environ.update(HOME=os.fspath(home), TMPDIR=os.fspath(home))
        tempfile.tempdir = None
        missing = [layer for layer in lock_down(limits, os.fspath(home), readable) if not layer.enforced]
        if missing and strict:
            facts, payload = {"refused": "; ".join(map(str, missing))}, b""
        else:
            facts, payload = _outcome_of(job, source.decode())
        line = json.dumps(facts, ensure_ascii=False, allow_nan=False).encode(errors="replace")
        if len(line) > MAX_FACTS_BYTES:
            line, payload = b'{"error": "the facts of the figure are too long"}', b""
        view = memoryview(nonce + line + b"\n" + payload)
        while view:
            view = view[os.write(pipe, view) :]
    finally:
        # The pipe stays open until the process ends: its closing tells the worker that the exit code is final.
        os._exit(0 if sys.exc_info()[0] is None else 1)


def _outcome_of(job: Job, source: str) -> tuple[dict[str, Any], bytes]:
    try:
        facts, payload = job.run(source)
    except ScriptError as failed:
        return {"error": str(failed)}, b""
    return {"result": facts}, payload


def main() -> None:
    """Entry point of the process: see `vlmrl.sandbox.runner`."""
    from vlmrl.sandbox.chart import ChartJob

    settings = json.loads(sys.argv[1])
    limits = Limits(**settings["limits"])
    channel = socket.socket(fileno=settings["channel"])
    Worker(channel, Path(settings["folder"]), limits, ChartJob(limits), strict=settings["strict"]).serve()

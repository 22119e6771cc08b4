"""Runs untrusted plotting scripts in warm, bounded worker processes."""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vlmrl.errors import UserError
from vlmrl.sandbox import protocol, scratch
from vlmrl.sandbox.figure import Figure, InvalidResult, parse
from vlmrl.sandbox.limits import MAX_FACTS_BYTES, Limits
from vlmrl.sandbox.protection import OPTIONAL, Protection

_START_SECONDS = 120.0  # the first start on a machine indexes its fonts
_GRACE_SECONDS = 10.0  # killing, reaping, and removing a scratch folder full of files
_STOP_SECONDS = 5.0
_MAX_MESSAGE = 500
_START = "import sys; sys.path.insert(0, sys.argv[2]); from vlmrl.sandbox import worker; del sys.path[0]; worker.main()"
_PACKAGES = Path(__file__).resolve().parents[2]


class Status(Enum):
    """How a script ended."""

    OK = "ok"
    """It ran to its end and drew a figure."""
    ERROR = "error"
    """It raised, exited or drew nothing. Forbidden deeds show as the exception they raise."""
    TIMEOUT = "timeout"
    """It used up its wall or processor time."""
    KILLED = "killed"
    """A signal ended it: its own crash, or the sandbox because it filled the disk or flooded the result."""
    REFUSED = "refused"
    """It was not run, or what its process handed back is not a figure."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one script."""

    status: Status
    figure: Figure | None
    """Present if and only if the status is `OK`."""
    message: str
    """Why there is no figure; empty if there is one. From the script's process where it raised: printable
    characters, at most 500."""
    fault: bool = False
    """The sandbox failed, not the script: it could not be confined, or its worker was lost. Another run may succeed."""


class Sandbox:
    """Runs plotting scripts written by a model, several at a time.

    ```
    with Sandbox(workers=2) as sandbox:
        outcomes = sandbox.run(scripts)
    ```

    Start it once: a worker imports matplotlib when it starts and forks per script. Workers are new processes with an
    environment of their own; nothing of the calling process is in them, and scripts leave nothing behind. A sandbox is
    for one thread.

    Args:
        workers: scripts that run at the same time.
        limits: bounds for each script.
        weak: run even if the system cannot enforce an essential protection; warns with what is missing.

    Raises:
        UserError: if the system is not Linux, matplotlib is missing, or an essential protection cannot be enforced.
    """

    def __init__(self, workers: int = 2, limits: Limits | None = None, *, weak: bool = False) -> None:
        if not sys.platform.startswith("linux"):
            raise UserError(
                f"the sandbox for chart code needs Linux and this is {sys.platform}: "
                "run tasks that execute code on Linux, for example in a container"
            )
        if workers < 1:
            raise ValueError(f"workers is {workers}: at least one is needed")
        self._limits = limits or Limits()
        self._weak = weak
        self._folder = Path(tempfile.mkdtemp(prefix="vlmrl-sandbox-"))
        self._workers: list[_Worker] = []
        try:
            for _ in range(workers):  # one after the other, so that only the first indexes the fonts
                self._workers.append(self._start())
            self._protections = self._workers[0].protections
            self._refuse_if_weak()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def protections(self) -> list[Protection]:
        """What is enforced here and what is not: each layer, and each promise as tried when a worker started."""
        return list(self._protections)

    def run(self, scripts: Sequence[str]) -> list[Outcome]:
        """Run all scripts; outcomes are in the scripts' order. Never raises because of what a script does.

        Raises:
            UserError: if a worker cannot be started again after it was lost.
        """
        if not self._workers:
            raise RuntimeError("this sandbox is closed")
        outcomes: list[Outcome | None] = [None] * len(scripts)
        waiting = deque(range(len(scripts)))
        running: dict[_Worker, int] = {}
        idle = list(self._workers)
        try:
            with selectors.DefaultSelector() as selector:
                while waiting or running:
                    while waiting and idle:
                        index = waiting.popleft()
                        source = _encoded(scripts[index], self._limits)
                        if isinstance(source, Outcome):
                            outcomes[index] = source
                            continue
                        worker = idle.pop()
                        worker.begin(source, self._limits.wall_seconds + _GRACE_SECONDS)
                        running[worker] = index
                        selector.register(worker.channel, selectors.EVENT_READ, worker)
                    ready = {key.data for key, _ in selector.select(timeout=0.2)} if running else set()
                    for worker in [w for w in running if w in ready or time.monotonic() > w.deadline]:
                        selector.unregister(worker.channel)
                        index = running.pop(worker)
                        outcomes[index], survived = self._finish(worker)
                        idle.append(worker if survived else self._replace(worker))
        except BaseException:
            for worker in running:  # their answers would be taken for the next scripts'
                worker.kill()
            self.close()
            raise
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        """End the workers and remove the sandbox's folder. Harmless when repeated."""
        for worker in self._workers:
            worker.channel.close()
        for worker in self._workers:
            worker.wait()
        self._workers = []
        if self._folder.exists():
            scratch.remove(self._folder)

    def _finish(self, worker: "_Worker") -> tuple[Outcome, bool]:
        """The outcome, and whether the worker is still there."""
        try:
            ended, result = worker.end()
        except (protocol.Closed, TimeoutError):
            lost = Outcome(Status.KILLED, None, "the worker that ran it was lost and has been replaced", fault=True)
            return lost, False
        return outcome_of(ended, result, self._limits), True

    def _start(self) -> "_Worker":
        return _Worker(self._folder, self._limits, strict=not self._weak)

    def _replace(self, lost: "_Worker") -> "_Worker":
        lost.kill()
        self._workers.remove(lost)
        self._workers.append(self._start())
        return self._workers[-1]

    def _refuse_if_weak(self) -> None:
        missing = [p for p in self._protections if not p.enforced and p.name not in OPTIONAL]
        if not missing:
            return
        text = "; ".join(map(str, missing))
        if not self._weak:
            raise UserError(
                f"this system cannot confine chart code: {text}. Use a kernel with Landlock and seccomp (Linux 5.13 or "
                "newer) and a container that allows them, or accept the risk explicitly with Sandbox(weak=True)"
            )
        warnings.warn(f"the sandbox runs untrusted code WITHOUT full protection: {text}", stacklevel=4)


class _Worker:
    """The trainer's end of one worker process."""

    def __init__(self, folder: Path, limits: Limits, *, strict: bool) -> None:
        self.deadline = 0.0
        self._folder = Path(tempfile.mkdtemp(prefix="worker-", dir=folder))
        self.channel, theirs = socket.socketpair()
        settings = {
            "channel": theirs.fileno(),
            "folder": os.fspath(self._folder),
            "limits": asdict(limits),
            "strict": strict,
        }
        self._errors = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (it lives as long as the worker)
        self._process = subprocess.Popen(
            # Neither the working directory nor the user's packages are on the path.
            [sys.executable, "-P", "-s", "-c", _START, json.dumps(settings), os.fspath(_PACKAGES)],
            env=_environment(folder, self._folder),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self.channel.settimeout(_START_SECONDS)
        try:
            ready, _ = protocol.receive(self.channel)
        except (protocol.Closed, TimeoutError) as failed:
            error = self._last_error()
            self.kill()
            raise UserError(f"a sandbox worker did not start: {error}") from failed
        self.protections = [Protection(**fields) for fields in ready["protections"]]

    def begin(self, source: bytes, seconds: float) -> None:
        """Send a script; the answer must come within so many seconds."""
        self.deadline = time.monotonic() + seconds
        self.channel.settimeout(seconds)
        try:
            self.channel.sendall(protocol.pack({}, source))
        except (BrokenPipeError, ConnectionResetError):
            return  # a dead worker's channel is readable, and `end` reports it

    def end(self) -> tuple[dict[str, Any], bytes]:
        """How the script ended, and what its process handed back."""
        self.channel.settimeout(max(0.001, self.deadline - time.monotonic()))
        return protocol.receive(self.channel)

    def wait(self) -> None:
        """Wait until the worker has seen that its channel is closed; kill it if it does not."""
        try:
            self._process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._errors.close()

    def kill(self) -> None:
        """End the worker at once, and with it its script."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.close()
        self.channel.close()  # not earlier: a worker that sees it close removes the sandbox's folder

    def _last_error(self) -> str:
        self._errors.seek(0)
        text = self._errors.read()[-10_000:].decode(errors="replace").strip()
        if "No module named 'matplotlib'" in text:
            return "matplotlib is missing: pip install 'vlmrl[chart]'"
        return text.splitlines()[-1] if text else "it ended without a message"


def _environment(shared: Path, home: Path) -> dict[str, str]:
    """All that a worker knows of the world. The thread counts keep it forkable."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": os.fspath(home),
        "TMPDIR": os.fspath(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "Agg",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte of addresses at first use
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "MPLCONFIGDIR": os.fspath(shared / "matplotlib"),
    }
    environment |= dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
    )
    if "LD_LIBRARY_PATH" in os.environ:  # the interpreter itself may need it
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment


def _encoded(script: str, limits: Limits) -> bytes | Outcome:
    try:
        source = script.encode()
    except UnicodeEncodeError:
        return Outcome(Status.REFUSED, None, "the script is not valid Unicode")
    if len(source) > limits.source_bytes:
        return Outcome(Status.REFUSED, None, f"the script has {len(source)} bytes, more than {limits.source_bytes}")
    return source


def outcome_of(ended: dict[str, Any], result: bytes, limits: Limits) -> Outcome:
    """What a worker's answer means.

    `ended` is the worker's word (`vlmrl.sandbox.worker.Ended`); `result` comes from the script's process and is
    believed in nothing.
    """
    stopped_for, number = ended["stopped_for"], ended["signal"]
    if stopped_for == "wall":
        return Outcome(Status.TIMEOUT, None, f"it ran longer than {limits.wall_seconds:g} s")
    if stopped_for == "result":
        return Outcome(Status.KILLED, None, f"it handed back more than {limits.result_bytes} bytes")
    if stopped_for == "scratch":
        return Outcome(
            Status.KILLED,
            None,
            f"its scratch folder held more than {limits.scratch_bytes} bytes or {limits.scratch_files} files",
        )
    if stopped_for == "forged":
        return Outcome(Status.REFUSED, None, "what it handed back was not written by the sandbox")
    # the kernel's limit counts whole clock ticks and getrusage the exact time: on a busy machine they differ widely
    if number in (signal.SIGXCPU, signal.SIGKILL) and ended["cpu_seconds"] >= limits.cpu_seconds / 2:
        return Outcome(Status.TIMEOUT, None, f"it used more than {limits.cpu_seconds} s of processor time")
    if number:
        return Outcome(Status.KILLED, None, f"it was ended by {signal.Signals(number).name}")
    if not result:
        return Outcome(Status.ERROR, None, f"it exited with code {ended['code']} before its figure was read")
    try:
        return _figure_or_error(result, limits)
    except InvalidResult as invalid:
        return Outcome(Status.REFUSED, None, _printable(f"what it handed back is not a figure: {invalid}"))


def _figure_or_error(result: bytes, limits: Limits) -> Outcome:
    line, _, pixels = result.partition(b"\n")
    if len(line) > MAX_FACTS_BYTES:
        raise InvalidResult("the facts are too long")
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError) as broken:
        raise InvalidResult(f"not JSON ({type(broken).__name__})") from None
    match facts:
        case {"result": figure, **rest} if not rest:
            return Outcome(Status.OK, parse(figure, pixels, limits.pixels), "")
        case {"error": str(message), **rest} if not rest:
            return Outcome(Status.ERROR, None, _printable(message))
        case {"refused": str(message), **rest} if not rest:
            return Outcome(Status.REFUSED, None, _printable(f"it could not be confined: {message}"), fault=True)
    raise InvalidResult("neither a figure nor an error")


def _printable(text: str) -> str:
    """A message from outside on one line, without anything that a terminal would obey."""
    shown = "".join(character if character.isprintable() else " " for character in text[:_MAX_MESSAGE])
    return " ".join(shown.split())

"""`vlmrl doctor`: what of vlmrl works on this machine, each thing by trying it, and what to do about the rest."""

import importlib
import importlib.util
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Any, Literal

import torch
from packaging.requirements import Requirement
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from vlmrl.config import EngineConfig, ModelConfig
from vlmrl.engine.choose import make_engine
from vlmrl.engine.kernels import Kernel, LeftPadding, Reference, kernel_for
from vlmrl.engine.naive import NaiveEngine
from vlmrl.engine.sampling import SamplingSettings
from vlmrl.engine.self_check import compare_with_naive
from vlmrl.errors import UserError
from vlmrl.media.decoding import Backend, with_decord, with_pyav
from vlmrl.models.load import load_policy
from vlmrl.progress import phase
from vlmrl.registry import find_task
from vlmrl.rollout.groups import encode
from vlmrl.sandbox import Sandbox
from vlmrl.sandbox.protection import OPTIONAL
from vlmrl.task_mix import TaskMix, TaskPart

DEVELOPERS = "dev"
"""The extra for who works on vlmrl; it holds the others."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Largest difference from the reference in double precision, for values around one."""
ENGINE_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.25}
CLIP_SECONDS = 2.0
CLIP_RATE = 10
SCRIPT = "import matplotlib.pyplot as plt\nplt.bar([1, 2], [3, 4])\nplt.savefig('chart.png')\n"

State = Literal["works", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was tried."""

    room: str
    name: str
    state: State
    detail: str = ""
    """What was seen, or why it does not work."""
    fix: str = ""
    """What makes it work; empty if it does."""
    needed: bool = False
    """Whether nothing can be trained without it."""


@dataclass(frozen=True)
class Diagnosis:
    """All findings on this machine."""

    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether everything works that training needs; what is merely missing does not count."""
        return not any(f.state == "broken" or (f.needed and f.state != "works") for f in self.findings)

    def record(self) -> dict[str, Any]:
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}

    def print(self) -> None:
        console = Console(highlight=False)
        table = Table("", "what", "state", "", box=SIMPLE_HEAD)
        colours = {"works": "green", "missing": "yellow", "broken": "red"}
        room = ""
        for finding in self.findings:
            shown = f"[{colours[finding.state]}]{finding.state}[/]"
            table.add_row("" if finding.room == room else finding.room, finding.name, shown, finding.detail)
            room = finding.room
        console.print(table)
        for finding in self.findings:
            if finding.fix:
                console.print(f"{finding.room}, {finding.name}: {finding.fix}", soft_wrap=True)
        console.print("[green]vlmrl trains here[/]" if self.ok else "[red]something is broken; see above[/]")


def diagnose() -> Diagnosis:
    """Tries everything; raises nothing because something does not work."""
    findings: list[Finding] = []
    for room, look in ROOMS.items():
        with phase(f"trying: {room}"):
            findings += look()
    return Diagnosis(findings)


def _tried(
    room: str, name: str, attempt: Callable[[], str], fix: str, *, needed: bool = False, absent: State = "broken"
) -> Finding:
    """What an attempt says it saw, or its fault. A missing module is `absent`."""
    try:
        return Finding(room, name, "works", attempt(), needed=needed)
    except ImportError as error:
        return Finding(room, name, absent, _line(error), fix, needed)
    except Exception as error:  # noqa: BLE001  whatever a library raises here is the finding
        return Finding(room, name, "broken", f"{type(error).__name__}: {_line(error)}", fix, needed)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _packages() -> Iterator[Finding]:
    room = "packages"
    yield Finding(room, "python", "works", platform.python_version(), needed=True)
    try:
        required = [Requirement(text) for text in requires("vlmrl") or ()]
    except PackageNotFoundError:
        yield Finding(room, "vlmrl", "broken", "not installed", "pip install . in vlmrl's folder", needed=True)
        return
    yield Finding(room, "vlmrl", "works", version("vlmrl"), needed=True)
    core = [need for need in required if need.marker is None or need.marker.evaluate({"extra": ""})]
    for need in core:
        yield _version(need, f"pip install '{_written(need)}'", needed=True)
    for extra in metadata("vlmrl").get_all("Provides-Extra") or ():
        for need in required if extra != DEVELOPERS else ():
            if need not in core and need.marker is not None and need.marker.evaluate({"extra": extra}):
                yield _version(need, f"pip install 'vlmrl[{extra}]'", needed=False)
    # it is compiled against one torch and says so only when it is imported
    yield _tried(
        room,
        "torchvision with torch",
        lambda: importlib.import_module("torchvision").__version__,
        f"install the torchvision that matches torch {torch.__version__}: pip install --no-deps torchvision",
        needed=True,
    )


def _written(need: Requirement) -> str:
    return f"{need.name}{need.specifier}"


def _version(need: Requirement, fix: str, *, needed: bool) -> Finding:
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return Finding("packages", need.name, "missing", "not installed", fix, needed)
    if need.specifier.contains(found, prereleases=True):
        return Finding("packages", need.name, "works", found, needed=needed)
    return Finding("packages", need.name, "broken", f"{found}, not {need.specifier}", fix, needed)


def _devices() -> list[torch.device]:
    return [torch.device("cpu"), *(torch.device("cuda", i) for i in range(torch.cuda.device_count()))]


def _device_findings() -> Iterator[Finding]:
    room = "devices"
    threads = torch.get_num_threads()
    yield Finding(room, "cpu", "works", f"{platform.machine()}, {threads} threads for torch", needed=True)
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        detail = (
            f"torch {torch.__version__} is built for {built} and finds no GPU"
            if built
            else (f"torch {torch.__version__} is built for the CPU alone")
        )
        fix = "check the driver with nvidia-smi" if built else "install the torch build that fits your driver's CUDA"
        yield Finding(room, "gpu", "missing", detail, f"{fix}; training on the CPU works without")
    for device in _devices()[1:]:
        yield _tried(room, str(device), partial(_multiplied, device), "update the driver or torch")


def _multiplied(device: torch.device) -> str:
    """A bfloat16 product on a GPU, and what the GPU is."""
    ones = torch.ones(64, 64, dtype=torch.bfloat16, device=device)
    if not torch.equal(ones @ ones, ones * 64):
        raise ArithmeticError("a bfloat16 matrix product is wrong")
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info(device))
    return f"{torch.cuda.get_device_name(device)}, {free:.1f} of {total:.1f} GiB free, bfloat16"


def _attention() -> Iterator[Finding]:
    for device in _devices():
        for dtype in (torch.float32, torch.bfloat16):
            kernel = kernel_for(*(torch.empty(1, 1, 1, 64, dtype=dtype, device=device) for _ in range(2)))
            name = f"{device}, {str(dtype).removeprefix('torch.')}"
            yield _tried(
                "attention",
                name,
                partial(_exactness, kernel, device, dtype),
                "use a torch version of vlmrl's range; until then train with engine.kind=naive",
                needed=dtype is torch.float32,
            )


def _exactness(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> str:
    """Runs a kernel forward and backward over padded prompts against the reference in double precision."""
    draw = torch.Generator().manual_seed(0)
    q, k, v, grad = (torch.randn(2, heads, 24, 64, generator=draw).to(device, dtype) for heads in (4, 2, 2, 4))
    mask = torch.ones(2, 24, dtype=torch.long, device=device)
    mask[0, :5] = 0
    found = _attended(kernel, (q, k, v, grad), LeftPadding.of(mask))
    exact = _attended(Reference(), tuple(x.double() for x in (q, k, v, grad)), LeftPadding.of(mask))
    # queries on padding see nothing, and what a kernel writes there is never read
    real = [mask[:, None, :, None].bool()] * len(found)
    worst = max(((a.double() - b) * r).abs().max().item() for a, b, r in zip(found, exact, real, strict=True))
    if worst > TOLERANCE[dtype]:
        raise ArithmeticError(f"{type(kernel).__name__} is off by {worst:.1e}")
    return f"{type(kernel).__name__}, off by at most {worst:.0e}"


def _attended(kernel: Kernel, inputs: tuple[torch.Tensor, ...], padding: LeftPadding | None) -> list[torch.Tensor]:
    """Output and gradients for queries, keys, values and the output's gradient."""
    q, k, v, grad = inputs
    out, lse = kernel.forward(q, k, v, 0.125, True, padding)
    return [out, *kernel.backward(grad, q, k, v, out, lse, 0.125, True, padding)]


def _samplers() -> Iterator[Finding]:
    for device in _devices():
        variants = [("shared", EngineConfig())]
        if device.type == "cuda":
            variants.append(("shared, cuda_graphs", EngineConfig(cuda_graphs=True)))
        for name, config in variants:
            yield _tried(
                "sampling",
                f"{device}, {name}",
                partial(_sampled, device, config),
                "leave engine.cuda_graphs off" if config.cuda_graphs else "train with engine.kind=naive",
                needed=not config.cuda_graphs and device.type == "cpu",
            )


def _sampled(device: torch.device, config: EngineConfig) -> str:
    """Samples with the embedded model by the shared engine and the naive one, and compares log-probs and gradients."""
    mix = TaskMix(TaskPart("gui_grounding", task := find_task("gui_grounding").create({}), {}))
    policy = load_policy(ModelConfig(), device, trainable=True)
    prompts = encode(policy, mix, list(task.synthetic("train", 2, 0)))
    settings, seeds = SamplingSettings(temperature=1.0, max_tokens=12), [[0, 1], [2, 3]]
    groups = make_engine(policy, config).sample(prompts, settings, seeds)
    naive = NaiveEngine(policy, 1).sample(prompts, settings, seeds)
    drawn, expected = ([[c.token_ids_T for c in group] for group in side] for side in (groups, naive))
    if policy.compute_dtype is torch.float32 and drawn != expected:
        raise ArithmeticError("the shared engine draws other tokens than the naive one from the same seeds")
    difference = compare_with_naive(policy, prompts, drawn, settings.temperature)
    if difference.logprob > ENGINE_TOLERANCE[policy.compute_dtype]:
        raise ArithmeticError(str(difference))
    return f"as the naive engine: {difference}"


def _videos() -> Iterator[Finding]:
    fix = "pip install 'vlmrl[video]'"
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        for name, backend in (("PyAV", with_pyav), ("decord (optional)", with_decord)):
            yield _tried("videos", name, partial(_decoded, clip, backend), fix, absent="missing")


def _decoded(clip: Path, backend: Backend) -> str:
    """Writes a clip, unless it is there, and reads its last frame."""
    if not clip.exists():
        _write_clip(clip)
    track = backend(clip)
    (last,) = track.frames([len(track.seconds) - 1])
    if abs(track.length - CLIP_SECONDS) > 1 / CLIP_RATE:
        raise ArithmeticError(f"a clip of {CLIP_SECONDS:g} s is read as {track.length:g} s")
    return f"{len(track.seconds)} frames of {last.width}x{last.height} in {track.length:g} s"


def _write_clip(path: Path) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=CLIP_RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(round(CLIP_SECONDS * CLIP_RATE)):
            pixels = np.full((48, 64, 3), 10 * i, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _charts() -> Iterator[Finding]:
    room, fix = "sandbox", "chart_to_code cannot be trained here; docs/sandbox.md says what the sandbox needs"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is listed below; the one script it runs is our own
            sandbox = Sandbox(workers=1, weak=True)
    except UserError as error:
        absent: State = "missing" if importlib.util.find_spec("matplotlib") is None else "broken"
        yield Finding(room, "scripts of charts", absent, _line(error), fix)
        return
    with sandbox:
        for protection in sandbox.protections():
            if protection.enforced:
                yield Finding(room, protection.name, "works")
            elif protection.name in OPTIONAL:
                yield Finding(room, protection.name, "missing", f"{protection.why_not}; every promise holds without")
            else:
                yield Finding(room, protection.name, "broken", protection.why_not, fix)
        yield _tried(room, "a script that draws", partial(_drawn, sandbox), fix)


def _drawn(sandbox: Sandbox) -> str:
    (outcome,) = sandbox.run([SCRIPT])
    if outcome.figure is None:
        raise RuntimeError(outcome.message)
    return "a bar chart"


ROOMS: dict[str, Callable[[], Iterator[Finding]]] = {
    "packages": _packages,
    "devices": _device_findings,
    "attention": _attention,
    "sampling": _samplers,
    "videos": _videos,
    "sandbox": _charts,
}

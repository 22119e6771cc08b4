"""Peak memory of one side's step above the idle model: one fresh process per figure (`python -m` runs it).

Peaks do not add up and freed memory hides later ones, so sides measured in one process would measure each other.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from vlmrl.bench.workload import ModelChoice, Setting

PROC = Path("/proc/self")


def peak_memory(side: str, model: ModelChoice, setting: Setting) -> int | None:
    """Bytes a step needs above the idle model with its gradients allocated; None where the system cannot say.

    GPU memory on a GPU; resident memory on a CPU under Linux. Raises RuntimeError with the child's last lines if the
    step fails.
    """
    request = json.dumps({"side": side, "model": asdict(model), "setting": asdict(setting)})
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", __name__, request], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise RuntimeError(f"peak memory of {side} at {setting} could not be measured:\n{last}")
    peak: int | None = json.loads(done.stdout.strip().splitlines()[-1])["peak"]
    return peak


def _measure(side: str, model: ModelChoice, setting: Setting) -> int | None:
    from vlmrl.bench.gradient_check import clear_gradients
    from vlmrl.bench.meter import Meter
    from vlmrl.bench.step import SIDES
    from vlmrl.bench.workload import bench_policy, make_workload

    policy = bench_policy(model)
    runner = SIDES[side](policy, make_workload(policy, setting), Meter(policy))
    clear_gradients(policy)
    runner.prepare()
    gc.collect()
    if policy.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        idle = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        runner.step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - idle
    if not (PROC / "clear_refs").exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    idle = _resident("VmRSS")
    (PROC / "clear_refs").write_text("5")  # resets the high-water mark
    runner.step()
    return _resident("VmHWM") - idle


def _resident(field: str) -> int:
    line = next(line for line in (PROC / "status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _main() -> None:
    torch.set_num_threads(1)
    request = json.loads(sys.argv[1])
    peak = _measure(request["side"], ModelChoice(**request["model"]), Setting(**request["setting"]))
    print(json.dumps({"peak": peak}))


if __name__ == "__main__":
    _main()

"""What a training device can do, from its data sheet or from this machine."""

import os
from dataclasses import dataclass

import torch

from vlmrl.errors import UserError
from vlmrl.models.load import resolve_device

GIB = 1 << 30


@dataclass(frozen=True)
class DeviceLimits:
    """Memory and, where known, the data sheet's speed of one device."""

    name: str
    memory: int
    """Bytes."""
    operations: float | None = None
    """Dense bfloat16 floating-point operations per second; None where no data sheet says."""
    bandwidth: float | None = None
    """Bytes per second from memory."""


DATA_SHEETS = {
    "a100-40gb": DeviceLimits("NVIDIA A100 40 GB", 40 * 10**9, 312e12, 1.555e12),
    "a100-80gb": DeviceLimits("NVIDIA A100 80 GB SXM", 80 * 10**9, 312e12, 2.039e12),
    "h100": DeviceLimits("NVIDIA H100 SXM", 80 * 10**9, 989e12, 3.35e12),
    "h200": DeviceLimits("NVIDIA H200 SXM", 141 * 10**9, 989e12, 4.8e12),
}


def device_limits(name: str) -> DeviceLimits:
    """Limits of a data sheet's device, or of a device of this machine (auto, cpu, cuda, cuda:N).

    Raises UserError for a name that is neither.
    """
    if name in DATA_SHEETS:
        return DATA_SHEETS[name]
    if name not in ("auto", "cpu") and not name.startswith("cuda"):
        raise UserError(f"--device {name}: auto, cpu, cuda, cuda:N or one of {', '.join(DATA_SHEETS)}")
    device = resolve_device(name)
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        for limits in DATA_SHEETS.values():
            model = limits.name.split()[1]
            if model in found.name and abs(limits.memory - found.total_memory) < 0.1 * limits.memory:
                return DeviceLimits(found.name, found.total_memory, limits.operations, limits.bandwidth)
        return DeviceLimits(found.name, found.total_memory)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return DeviceLimits("this machine's processor", memory)

"""What a figure was measured on."""

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

PACKAGES = ("torch", "transformers", "peft", "trl", "vllm")


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Processor, threads, system and the versions that decide about speed."""
    machine: dict[str, str | int] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            machine[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            machine[name] = "not installed"
    if device.type == "cuda":
        machine["cuda"] = str(torch.version.cuda)
    return machine


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

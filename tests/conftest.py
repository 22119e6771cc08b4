"""Shared set-up: one torch thread per test process, and processors that can be imported."""

import torch
from hypothesis import settings

import vlmrl.models  # noqa: F401  (before transformers' processors: see vlmrl/models/torchvision_shim.py)

torch.set_num_threads(1)

# how long an example takes says something about the machine's load, not about the code
settings.register_profile("no deadlines", deadline=None)
settings.load_profile("no deadlines")

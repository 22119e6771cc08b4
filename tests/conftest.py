"""Shared set-up: one torch thread per test process, and processors that can be imported."""

import torch

import vlmrl.models  # noqa: F401  (before transformers' processors: see vlmrl/models/torchvision_shim.py)

torch.set_num_threads(1)

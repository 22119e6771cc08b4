"""Side-by-side measurements: one training step or one rollout of vlmrl against the same work done by others."""

from vlmrl.models.torchvision_shim import ensure_torchvision

ensure_torchvision()

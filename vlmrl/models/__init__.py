"""Model families, loading and saving. Importing this package makes torchvision importable first (see the shim)."""

from vlmrl.models.torchvision_shim import ensure_torchvision

ensure_torchvision()

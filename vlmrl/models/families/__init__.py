"""The model families vlmrl knows, one adapter file each."""

from vlmrl.models.families.base import Family, Part
from vlmrl.models.families.qwen2_5_vl import Qwen25VL
from vlmrl.models.families.qwen2_vl import Qwen2VL
from vlmrl.models.families.qwen3_vl import Qwen3VL

FAMILIES: dict[str, type[Family]] = {
    model_type: family for family in (Qwen2VL, Qwen25VL, Qwen3VL) for model_type in family.model_types
}

__all__ = ["FAMILIES", "Family", "Part"]

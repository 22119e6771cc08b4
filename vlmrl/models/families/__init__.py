"""The model families vlmrl knows, one adapter file each."""

from vlmrl.models.families.base import Family, Part
from vlmrl.models.families.gemma3 import Gemma3
from vlmrl.models.families.idefics3 import Idefics3
from vlmrl.models.families.internvl import InternVL
from vlmrl.models.families.llava_onevision import LlavaOneVision
from vlmrl.models.families.qwen2_5_vl import Qwen25VL
from vlmrl.models.families.qwen2_vl import Qwen2VL
from vlmrl.models.families.qwen3_5 import Qwen35VL
from vlmrl.models.families.qwen3_vl import Qwen3VL

ADAPTERS: tuple[type[Family], ...] = (
    Qwen2VL,
    Qwen25VL,
    Qwen3VL,
    Qwen35VL,
    InternVL,
    Gemma3,
    LlavaOneVision,
    Idefics3,
)

FAMILIES: dict[str, type[Family]] = {model_type: family for family in ADAPTERS for model_type in family.model_types}

__all__ = ["FAMILIES", "Family", "Part"]

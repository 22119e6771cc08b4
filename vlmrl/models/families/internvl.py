"""InternVL in transformers' own form: pictures as tiles; boxes as <box>[[x1, y1, x2, y2]]</box> in 0-1000.

Convention: OpenGVLab/InternVL evaluate_grounding.py; points are written [[x, y]] without box tokens.
"""

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.base import Family


class InternVL(Family):
    model_types = ("internvl",)
    convention = Convention(Unit.NORM1000, "internvl_brackets")
    answer_tokens = ("<ref>", "</ref>", "<box>", "</box>")
    processor_settings = ("size", "crop_to_patches", "min_patches", "max_patches")

"""Gemma 3: sliding windows in most layers; the tokens of one picture see each other in both directions.

The family was trained on no coordinate format. JSON in 0-1000 is chosen here: it does not depend on the resizing.
"""

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.base import Family


class Gemma3(Family):
    model_types = ("gemma3",)
    convention = Convention(Unit.NORM1000, "json")
    token_inputs = ("token_type_ids",)
    processor_settings = ("size", "do_pan_and_scan")

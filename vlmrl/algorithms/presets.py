"""Published algorithms as choices of the pieces in this package."""

from dataclasses import dataclass, fields, replace

from vlmrl.algorithms.advantages import Baseline, Scale
from vlmrl.algorithms.reducers import Reducer
from vlmrl.config import AlgorithmConfig, RolloutConfig
from vlmrl.errors import UserError


@dataclass(frozen=True)
class Algorithm:
    """Every choice made. The defaults are plain GRPO (arXiv 2402.03300) without its KL term."""

    baseline: Baseline = "mean"
    scale: Scale = "group_std"
    clip_low: float = 0.2
    clip_high: float = 0.2
    reducer: Reducer = "sequence_mean"
    kl_coefficient: float = 0.0
    """The paper's 0.04 costs a pass of the start model; reports on grounding and GUI tasks do better near 0."""
    drop_constant_groups: bool = False
    overlong_buffer: int = 0
    """Tokens; 0 switches the shaping off."""
    mask_truncated: bool = False


GRPO = Algorithm()
DR_GRPO = replace(GRPO, scale="none", reducer="token_sum_constant")
"""arXiv 2503.20783: no division by the group's deviation, no division by the completion's length."""
DAPO = replace(GRPO, clip_high=0.28, reducer="token_mean", drop_constant_groups=True)
"""arXiv 2503.14476: clip-higher, token-level loss, dynamic sampling, soft overlong punishment."""
DAPO_OVERLONG_SHARE = 0.2
"""DAPO lowers the reward over the last 4096 of 20480 tokens."""

PRESETS = {"grpo": GRPO, "dr_grpo": DR_GRPO, "dapo": DAPO}


def choose_algorithm(config: AlgorithmConfig, rollout: RolloutConfig) -> Algorithm:
    """The preset with the user's replacements. Raises UserError for an unknown preset or an impossible combination."""
    if config.preset not in PRESETS:
        raise UserError(f"algorithm.preset={config.preset}: unknown; known presets: {', '.join(PRESETS)}")
    algorithm = PRESETS[config.preset]
    if config.preset == "dapo":
        buffer = round(DAPO_OVERLONG_SHARE * rollout.max_completion_tokens)
        algorithm = replace(algorithm, overlong_buffer=buffer)
    chosen = {f.name: getattr(config, f.name) for f in fields(Algorithm)}
    algorithm = replace(algorithm, **{name: value for name, value in chosen.items() if value is not None})
    if rollout.group_size == 1 and (algorithm.baseline == "mean" or algorithm.scale == "group_std"):
        raise UserError(
            "rollout.group_size=1: a group of one has no mean or deviation to compare with, so every advantage would "
            "be 0; use rollout.group_size=2 or more, or algorithm.baseline=none algorithm.scale=none"
        )
    if algorithm.overlong_buffer >= rollout.max_completion_tokens:
        raise UserError(
            f"algorithm.overlong_buffer={algorithm.overlong_buffer} must be below "
            f"rollout.max_completion_tokens={rollout.max_completion_tokens}"
        )
    return algorithm

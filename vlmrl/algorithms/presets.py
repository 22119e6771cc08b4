"""Published algorithms as settings: what each changes in plain GRPO. A paper is a dictionary of pieces."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Settings = Mapping[str, Any]

PLAIN: Settings = {
    "curriculum": "in_order",
    "plan": "group_only",
    "judge": "none",
    "filter": "keep_all",
    "advantage": "group_relative",
    "credit": "broadcast",
    "surrogate": "clip",
    "expert_surrogate": "none",
    "objective": "none",
    # the paper's 0.04 costs a pass of the start model; reports on grounding and GUI tasks do better near 0
    "regularisers": {"kl": {"coefficient": 0.0}},
    "reducer": "sequence_mean",
}
"""Plain GRPO: what every preset starts from."""


@dataclass(frozen=True)
class Preset:
    """A published algorithm."""

    what: str
    """One line."""
    paper: str
    """Where it comes from."""
    settings: Settings
    """Choices that differ from PLAIN, as settings below `algorithm`."""
    besides: str = ""
    """Settings outside `algorithm` the paper uses, and what of the paper is not in the preset."""


UNNORMALISED = {"scale": "none"}
CLIP_HIGHER = {"clip_high": 0.28}
NO_CLIP = {"clip_low": 1.0, "clip_high": float("inf")}
DAPO_LOSS = {"surrogate": CLIP_HIGHER, "reducer": "token_mean"}

PRESETS: dict[str, Preset] = {
    "grpo": Preset("group-relative advantages and PPO's clip, without the KL term", "arXiv 2402.03300", {}),
    "grpo_kl": Preset(
        "GRPO with its KL term to the start model", "arXiv 2402.03300", {"regularisers": {"kl": {"coefficient": 0.04}}}
    ),
    "grpo_centred": Preset(
        "GRPO without the division by the group's deviation", "arXiv 2503.20783", {"advantage": UNNORMALISED}
    ),
    "dr_grpo": Preset(
        "no division by the group's deviation, none by the completion's length",
        "arXiv 2503.20783",
        {"advantage": UNNORMALISED, "reducer": "token_sum_constant"},
    ),
    "dapo": Preset(
        "clip-higher, dynamic sampling, token-level loss, soft overlong punishment",
        "arXiv 2503.14476",
        {**DAPO_LOSS, "filter": "varying", "reward_transforms": {"soft_overlong": True}},
        "rollout.group_size=16",
    ),
    "rloo": Preset(
        "leave-one-out baseline, one ratio per sequence, KL in the reward",
        "arXiv 2402.14740",
        {
            "advantage": {"baseline": "leave_one_out", **UNNORMALISED},
            "surrogate": {"level": "sequence_sum"},
            "regularisers": {"kl": {"coefficient": 0.05, "estimator": "k1", "place": "reward"}},
        },
    ),
    "reinforce_pp": Preset(
        "no group baseline: returns with a KL reward per token, whitened over the batch's tokens",
        "arXiv 2501.03262 (REINFORCE++)",
        {
            "advantage": {"baseline": "none", **UNNORMALISED},
            "credit": "return_to_go",
            "reducer": "token_mean",
            "regularisers": {"kl": {"coefficient": 0.01, "estimator": "k1", "place": "reward"}},
        },
        "rollout.group_size=1 is possible; the coefficient is ours",
    ),
    "reinforce_pp_baseline": Preset(
        "group mean as baseline, advantages whitened over the batch's tokens, k2 KL loss",
        "arXiv 2501.03262 (REINFORCE++-baseline)",
        {
            "advantage": UNNORMALISED,
            "credit": "whitened",
            "reducer": "token_mean",
            "regularisers": {"kl": {"coefficient": 0.01, "estimator": "k2"}},
        },
        "the coefficient is ours",
    ),
    "lite_ppo": Preset(
        "group mean, deviation of the batch, token-level loss",
        "arXiv 2508.08221 (Tricks or Traps)",
        {"advantage": {"scale": "batch"}, "reducer": "token_mean"},
        "rollout.temperature=0.99 rollout.top_p=0.99 rollout.top_k=100",
    ),
    "gspo": Preset(
        "one probability ratio per sequence, with a narrow clip",
        "arXiv 2507.18071",
        {"surrogate": {"level": "sequence", "clip_low": 3e-4, "clip_high": 4e-4}},
        "optim.inner_epochs=4 stands for its four mini-batches",
    ),
    "cispo": Preset(
        "the ratio's weight is capped and no token dropped",
        "arXiv 2506.13585 (MiniMax-M1)",
        {"surrogate": "cispo", "reducer": "token_mean"},
    ),
    "sapo": Preset("a soft gate in place of the clip", "arXiv 2511.20347", {"surrogate": "sigmoid_gate"}),
    "bnpo": Preset(
        "advantages weighted by a Beta density of group accuracies",
        "BNPO (Beta normalisation policy optimisation)",
        {
            "advantage": {"order": "normalise", "scale": "beta"},
            "surrogate": {**CLIP_HIGHER, "dual": 10.0},
            "reducer": "token_sum",
        },
        "rollout.group_size=16",
    ),
    "gdpo": Preset(
        "each reward component is normalised alone, then their sum over the batch",
        "arXiv 2601.05242",
        {"advantage": {"order": "normalise", "whiten_batch": True}},
    ),
    "cpgd": Preset(
        "clipped log-ratio without a ratio in the gradient, and a drift term",
        "arXiv 2505.12504",
        {
            "advantage": UNNORMALISED,
            "advantage_transforms": {"undo_dilution": True},
            "surrogate": "log_clip",
            "regularisers": {"drift": {"coefficient": 0.001}},
        },
    ),
    "stable_reinforce": Preset(
        "log-ratios clamped before exp, advantages whitened over tokens and cut at 3 sigma",
        "arXiv 2505.02835 (R1-Reward)",
        {"credit": {"name": "whitened", "limit": 3.0}, "surrogate": {"log_ratio_limit": 6.907755278982137}},
        "its k3 KL term is algorithm.regularisers.kl.coefficient, its consistency reward "
        "algorithm.reward_transforms.consistency=true with a judge of yours",
    ),
    "gbpo": Preset(
        "the ratio is drawn to a bounded target on its side of the group's median",
        "arXiv 2604.18578",
        {"surrogate": "bounded_target", "reducer": "token_mean"},
        "optim.inner_epochs of 5 to 10",
    ),
    "disco": Preset(
        "right answers' likelihood against the likeliest wrong ones', in a trust region",
        "arXiv 2505.12366",
        {
            "objective": "discriminative",
            "regularisers": {"trust_region": {"name": "kl_hinge"}},
            "reducer": "token_mean",
        },
        "rollout.temperature=0.6 optim.lr=2e-6",
    ),
    "drpo": Preset(
        "DisCO with short right answers preferred among the right ones",
        "arXiv 2510.04474",
        {
            "objective": {"name": "discriminative", "length_temperature": 0.1},
            "regularisers": {"trust_region": {"name": "kl_hinge"}},
            "reducer": "token_mean",
        },
    ),
    "trpa": Preset(
        "preference pairs from levels: right, wrong, cut, no answer",
        "arXiv 2504.04524",
        {
            "objective": "pairwise_preference",
            "regularisers": {"old": {"name": "kl", "target": "old", "coefficient": 0.001}},
            "reducer": "token_mean",
        },
        "rollout.group_size=16 optim.lr=4e-7",
    ),
    "ktae": Preset(
        "tokens that go with right answers earn more",
        "arXiv 2505.16826",
        {"credit": "key_tokens"},
        "rollout.group_size=16",
    ),
    "tree_rl": Preset(
        "groups branch at surprising tokens, and segments of the tree are credited by what follows from them",
        "TreeRL (THUDM/TreeRL)",
        {
            "plan": "surprising_tokens",
            "advantage": {"baseline": "leave_one_out", **UNNORMALISED},
            "credit": "tree_values",
            "token_weights": {"own_tokens": True},
        },
        "rollout.group_size=6, which the plan makes 30",
    ),
    "high_entropy": Preset(
        "80/20: only the fifth of the tokens with the highest entropy is trained on, on top of DAPO's loss",
        "arXiv 2506.01939",
        {**DAPO_LOSS, "filter": "varying", "token_weights": {"high_entropy": True}},
    ),
    "t_grpo": Preset(
        "a bonus for answering the frames in order better than shuffled ones",
        "arXiv 2503.21776 (Video-R1)",
        {
            "plan": "shuffled_frames",
            "reward_transforms": {"temporal_bonus": True, "length_window": True},
            "regularisers": {"kl": {"coefficient": 0.04}},
        },
    ),
    "trust_grpo": Preset(
        "a judge's score of the thoughts, trusted as far as it agrees with the answers",
        "arXiv 2505.17018 (SophiaVL-R1)",
        {"reward_transforms": {"trusted_thoughts": True}},
        "algorithm.judge is yours to give",
    ),
    "grpo_lambda": Preset(
        "length counts only in the groups that are answered best",
        "arXiv 2505.18086",
        {"reward_transforms": {"ranked_length": True}},
        "algorithm.reward_transforms.ranked_length.alpha is yours to give",
    ),
    "noisy_backward": Preset(
        "rewards of an unreliable rule, corrected to be unbiased",
        "arXiv 2510.00915",
        {"advantage": UNNORMALISED, "reward_transforms": {"backward_corrected": True}},
        "both error rates are yours to give",
    ),
    "noisy_forward": Preset(
        "weights by the outcome of an unreliable rule, from its false negatives alone",
        "arXiv 2510.00915",
        {"advantage": "forward_corrected"},
        "algorithm.advantage.false_negative is yours to give",
    ),
    "univg_r1": Preset(
        "groups of low accuracy weigh more",
        "arXiv 2505.14231",
        {"advantage_transforms": {"difficulty_weight": True}, "regularisers": {"kl": {"coefficient": 0.04}}},
    ),
    "gui_g1": Preset(
        "Dr. GRPO with a weight per row and a constant of 64 tokens",
        "arXiv 2505.15810",
        {
            "advantage": UNNORMALISED,
            "advantage_transforms": {"row_weight": True},
            "reducer": {"name": "token_sum_constant", "constant": 64},
        },
        "rows may have a number `weight`; rollout.max_completion_tokens=128",
    ),
    "adora": Preset(
        "groups whose right answers are not the longer ones weigh less",
        "ADORA",
        {"advantage_transforms": {"length_advantage": True}},
    ),
    "vcrl": Preset(
        "groups of high variance, refilled from a bank of such prompts",
        "arXiv 2509.19803",
        {"filter": "high_variance", "curriculum": "variance_bank"},
        "algorithm.curriculum.capacity is yours to give",
    ),
    "rule_reasoner": Preset(
        "tasks that fall short come more often",
        "arXiv 2506.08672",
        {"curriculum": "task_deficit"},
        "needs several tasks: task.name=a,b",
    ),
    "ssb": Preset(
        "groups with advantages come back while they are young",
        "arXiv 2504.16656 (Skywork R1V2)",
        {"buffers": {"selective_samples": True}},
        "capacity, take and max_age are yours to give",
    ),
    "arpo": Preset(
        "a failed group gets a stored success of its row",
        "arXiv 2505.16282",
        {"buffers": {"success_replay": True}, "surrogate": {"clip_high": 0.3}},
    ),
    "pipo": Preset(
        "the previous batch once more, by how much the policy has improved",
        "arXiv 2604.00860",
        {"auxiliary": {"retrospective": True}},
    ),
    "ghpo": Preset(
        "failed groups are sampled anew with parts of the solution as a hint",
        "arXiv 2507.10628",
        {"repairs": {"solution_hints": True}},
    ),
    "scaf_grpo": Preset(
        "a failed group gets one right answer, found with the least help",
        "arXiv 2510.19807",
        {"repairs": {"hinted_slot": True}},
    ),
    "luffy": Preset(
        "one rollout of each group is an expert's, with a loss that learns unlikely tokens",
        "arXiv 2504.14945",
        {
            "advantage": UNNORMALISED,
            "repairs": {"expert_slot": True},
            "surrogate": NO_CLIP,
            "expert_surrogate": "expert_shaping",
            "regularisers": {"entropy": {"coefficient": 0.001}},
            "reducer": "token_sum_constant",
        },
    ),
    "kdrl": Preset(
        "a teacher's distribution on wrong answers, with a falling weight",
        "arXiv 2506.02208",
        {
            "surrogate": NO_CLIP,
            "regularisers": {
                "teacher": {
                    "name": "kl",
                    "target": "teacher",
                    "estimator": "k2",
                    "coefficient": 5e-3,
                    "decay": 5e-5,
                    "floor": 1e-3,
                    "rows": "wrong",
                }
            },
            "reducer": "token_mean",
        },
        "algorithm.teacher is yours to give",
    ),
    "kepo": Preset(
        "distillation on rewarded rows, and a teacher's hints for failed groups",
        "arXiv 2602.00400",
        {
            "surrogate": NO_CLIP,
            "repairs": {"teacher_hint": True},
            "regularisers": {"distillation": True},
        },
        "algorithm.teacher and algorithm.regularisers.distillation.mixture are yours to give",
    ),
    "rent": Preset(
        "low entropy is the reward; no labels are used",
        "arXiv 2505.22660",
        {"reward_transforms": {"negative_entropy": True}, "regularisers": {"kl": {"coefficient": 0.001}}},
    ),
    "one_shot_em": Preset(
        "entropy is minimised on one prompt, without rewards",
        "arXiv 2505.20282",
        {
            "curriculum": "one_row",
            "advantage": "unrewarded",
            "regularisers": {"entropy": {"coefficient": -1.0, "temperature": 0.5}},
            "reducer": "token_mean",
        },
        "optim.lr=2e-5 run.steps=10; more collapses",
    ),
    "hypervolume": Preset(
        "rewards grow with what the last evaluation added to the front of objectives",
        "arXiv 2509.11452",
        {"advantage": UNNORMALISED, "controllers": {"hypervolume": True}},
        "algorithm.controllers.hypervolume.objectives is yours to give; eval.every=10 or so",
    ),
    "ema_grpo": Preset(
        "advantages divided by a running deviation of their task",
        "OneThinker (tulerfeng/OneThinker, core_algos.py)",
        {"advantage": "ema_scaled"},
    ),
    "overlong_shaping": Preset(
        "GRPO with DAPO's soft overlong punishment",
        "arXiv 2503.14476",
        {"reward_transforms": {"soft_overlong": True}},
    ),
    "overlong_masking": Preset(
        "GRPO without truncated completions in the loss",
        "arXiv 2503.14476",
        {"token_weights": {"skip_truncated": True}},
    ),
    "tis": Preset(
        "truncated weights where sampler and training engine differ",
        "TIS (verl, OpenRLHF, TRL)",
        {"token_weights": {"sampler_ratio": True}},
    ),
    "mis": Preset(
        "sequences masked where sampler and training engine differ too much",
        "MIS (TRL)",
        {"token_weights": {"sampler_ratio": {"level": "sequence", "mode": "mask", "high": 3.0}}},
    ),
    "icepop": Preset(
        "tokens masked where sampler and training engine differ too much",
        "IcePop",
        {"token_weights": {"sampler_ratio": {"mode": "mask", "low": 0.5}}},
    ),
    "kl_k2": Preset(
        "GRPO with a KL loss whose gradient is the KL's",
        "k2 estimate",
        {"regularisers": {"kl": {"coefficient": 0.04, "estimator": "k2"}}},
    ),
    "kl_rho_k3": Preset(
        "GRPO with a KL loss that stays right off policy",
        "ratio times k3 estimate",
        {"regularisers": {"kl": {"coefficient": 0.04, "estimator": "rho_k3"}}},
    ),
    "kl_reward": Preset(
        "GRPO with the KL as part of the reward",
        "k1 estimate",
        {"regularisers": {"kl": {"coefficient": 0.04, "estimator": "k1", "place": "reward"}}},
    ),
    "kl_adaptive": Preset(
        "GRPO with a KL loss whose weight holds the KL at a goal",
        "arXiv 1707.06347 (PPO), arXiv 1909.08593",
        {"regularisers": {"kl": {"coefficient": 0.04}}, "controllers": {"adaptive_kl": True}},
    ),
}

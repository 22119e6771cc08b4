"""Every preset trains the embedded model, and shows that it does what it says."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.algorithms.test_choose import GIVEN
from tests.training.conftest import MakeConfig
from tests.training.test_run import assert_same_run, lines
from vlmrl.algorithms.presets import PRESETS
from vlmrl.training.run import train

Steps = list[dict[str, Any]]

BRIEF = (
    "run.steps=10",
    "rollout.prompts_per_step=4",
    "eval.every=0",
    "data.held_out_rows=0",
    "engine.self_check=false",
    "run.save_every=10",
)
WORDS = {
    "grpo_lambda": GIVEN["grpo_lambda"],
    "noisy_backward": GIVEN["noisy_backward"],
    "noisy_forward": GIVEN["noisy_forward"],
    "vcrl": [*GIVEN["vcrl"], "algorithm.filter.max_refills=2"],
    "rule_reasoner": ["task.name=gui_grounding,brightest_square", "algorithm.curriculum.every=2"],
    "ssb": GIVEN["ssb"],
    "kdrl": GIVEN["kdrl"],
    "kepo": [*GIVEN["kepo"], "rollout.max_completion_tokens=10"],
    "trust_grpo": GIVEN["trust_grpo"],
    "t_grpo": ["task.name=video_temporal", "algorithm.reward_transforms.length_window={low: 1, high: 16}"],
    "scaf_grpo": ["algorithm.repairs.hinted_slot={exempt_steps: 2, parts: 3}", "rollout.temperature=2"],
    "ghpo": ["algorithm.repairs.solution_hints.start_step=2", "rollout.temperature=2"],
    "arpo": ["data.max_rows=4", "algorithm.curriculum=one_row"],
    "pipo": ["algorithm.auxiliary.retrospective.window=3"],
    "gspo": ["optim.inner_epochs=2"],
    "gbpo": ["optim.inner_epochs=3"],
    "cpgd": ["optim.inner_epochs=2"],
    "disco": ["optim.inner_epochs=2"],
    "drpo": ["optim.inner_epochs=2"],
    "trpa": ["optim.inner_epochs=2"],
    "hypervolume": [*GIVEN["hypervolume"], "eval.every=2", "data.held_out_rows=16"],
    "one_shot_em": ["optim.lr=1e-3"],
}
"""What a preset is given by the user, and what makes its effect show in ten small steps."""


def some(steps: Steps, test: Callable[[dict[str, Any]], bool]) -> bool:
    return any(test(step) for step in steps)


SHOWS: dict[str, Callable[[Steps], bool]] = {
    "grpo_kl": lambda s: s[0]["kl"] == 0 and s[-1]["kl"] > 0,
    "grpo": lambda s: some(s, lambda m: m["dead_skipped"] > 0),
    "dapo": lambda s: some(s, lambda m: m["refills"] > 0) and all(m["dead_groups"] == 0 for m in s),
    "tree_rl": lambda s: all(m["rollouts"] == (4 + 4 * 2 * 2) * m["groups"] for m in s),
    "high_entropy": lambda s: some(s, lambda m: m["refills"] > 0),
    "t_grpo": lambda s: all(m["contrast_accuracy"] is not None and m["rollouts"] == 4 * m["groups"] for m in s),
    "gspo": lambda s: some(s, lambda m: m["clip_low"] + m["clip_high"] > 0.02),
    "kdrl": lambda s: s[0]["kl"] == 0 and s[-1]["kl"] > 0,
    "trpa": lambda s: some(s, lambda m: m["kl"] > 0),
    "vcrl": lambda s: s[-1]["pieces"]["curriculum"]["stored"] == 8 and some(s, lambda m: m["refills"] > 0),
    "rule_reasoner": lambda s: len(set(map(str, (m["pieces"]["curriculum"]["weights"] for m in s)))) > 1,
    "ssb": lambda s: (
        some(s, lambda m: m["trained_groups"] > m["groups"])
        and s[-1]["pieces"]["buffers.selective_samples"]["stored"] > 0
    ),
    "arpo": lambda s: s[-1]["pieces"]["buffers.success_replay"]["stored"] > 0,
    "pipo": lambda s: s[2]["auxiliary_groups"] == 0 and some(s, lambda m: m["auxiliary_groups"] > 0),
    "ghpo": lambda s: not some(s[:2], lambda m: m["hinted"]) and some(s[2:], lambda m: m["hinted"] > 0),
    "scaf_grpo": lambda s: not some(s[:2], lambda m: m["hinted"]) and some(s[2:], lambda m: m["hinted"] > 0),
    "luffy": lambda s: some(s, lambda m: m["expert"] == m["groups"]),
    "rent": lambda s: s[-1]["kl"] > 0,
    "one_shot_em": lambda s: s[-1]["entropy"] < 0.8 * s[0]["entropy"] and s[0]["advantage_abs"] == 0,
    "hypervolume": lambda s: some(s, lambda m: m["pieces"]["controllers.hypervolume"]["factor"] != 1),
    "ema_grpo": lambda s: s[-1]["pieces"]["advantage"]["gui_grounding"]["mean"] > 0,
    "kl_k2": lambda s: s[-1]["kl"] > 0,
    "kl_rho_k3": lambda s: s[-1]["kl"] > 0,
    "kl_adaptive": lambda s: s[-1]["pieces"]["controllers.adaptive_kl"]["factor"] != 1,
}
"""The metric of a preset that moves."""


@pytest.fixture(autouse=True)
def own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMRL_TASKS", str(Path(__file__).parents[2] / "examples" / "own_task" / "tasks"))


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_and_shows_it(preset: str, small_config: MakeConfig) -> None:
    summary = train(small_config(*BRIEF, f"algorithm={preset}", *WORDS.get(preset, [])))
    run = Path(summary["paths"]["run"])
    steps = [m for m in lines(run / "metrics.jsonl") if m["kind"] == "train"]
    assert len(steps) == 10
    assert all(m["skipped"] == 0 for m in steps)
    assert sum(m["grad_norm"] > 0 for m in steps) >= 5
    shows = SHOWS.get(preset)
    assert shows is None or shows(steps), json.dumps(steps, indent=1)


def off(*pieces: str) -> list[str]:
    return [f"algorithm.{piece}" for piece in pieces]


PLAIN_CLIP = ("surrogate.clip_low=0.2", "surrogate.clip_high=0.2")
SCALED, BY_SEQUENCE, NO_KL = "advantage.scale=group", "reducer=sequence_mean", "regularisers.kl.coefficient=0"
IDENTITY = {
    "grpo": [],
    "grpo_kl": off(NO_KL),
    "grpo_centred": off(SCALED),
    "dr_grpo": off(SCALED, BY_SEQUENCE),
    "dapo": off(*PLAIN_CLIP, BY_SEQUENCE, "filter=keep_all", "reward_transforms.soft_overlong.factor=0"),
    "rloo": off("advantage.baseline=mean", SCALED, "surrogate.level=token", NO_KL),
    "reinforce_pp": off("advantage.baseline=mean", SCALED, "credit=broadcast", BY_SEQUENCE, NO_KL),
    "reinforce_pp_baseline": off(SCALED, "credit=broadcast", BY_SEQUENCE, NO_KL),
    "lite_ppo": off(SCALED, BY_SEQUENCE),
    "gspo": off("surrogate.level=token", *PLAIN_CLIP),
    "cispo": off("surrogate=clip", BY_SEQUENCE),
    "sapo": off("surrogate=clip"),
    "bnpo": off("advantage.order=combine", SCALED, *PLAIN_CLIP, "surrogate.dual=null", BY_SEQUENCE),
    "gdpo": off("advantage.order=combine", "advantage.whiten_batch=false"),
    "cpgd": off(
        SCALED,
        "advantage_transforms.undo_dilution.limit=1",
        "surrogate=clip",
        "regularisers.drift.coefficient=0",
    ),
    "stable_reinforce": off("credit=broadcast", "surrogate.log_ratio_limit=20"),
    "gbpo": off("surrogate=clip", BY_SEQUENCE),
    "disco": off("objective=none", "regularisers.trust_region.coefficient=0", BY_SEQUENCE),
    "drpo": off("objective=none", "regularisers.trust_region.coefficient=0", BY_SEQUENCE),
    "trpa": off("objective=none", "regularisers.old.coefficient=0", BY_SEQUENCE),
    "ktae": off("credit.top=0"),
    "tree_rl": off(
        "plan=group_only",
        "advantage.baseline=mean",
        SCALED,
        "credit=broadcast",
    ),
    "high_entropy": off("token_weights.high_entropy.share=1", *PLAIN_CLIP, BY_SEQUENCE, "filter=keep_all"),
    "t_grpo": off("reward_transforms.temporal_bonus.bonus=0", "reward_transforms.length_window.bonus=0", NO_KL),
    "trust_grpo": [*GIVEN["trust_grpo"], *off("reward_transforms.trusted_thoughts.alpha=0")],
    "grpo_lambda": [*GIVEN["grpo_lambda"], *off("reward_transforms.ranked_length.share=0")],
    "noisy_backward": off("reward_transforms.backward_corrected={false_positive: 0, false_negative: 0}"),
    "noisy_forward": off("advantage=group_relative"),
    "univg_r1": off("advantage_transforms.difficulty_weight=false", NO_KL),
    "gui_g1": off(SCALED, BY_SEQUENCE),
    "adora": off("advantage_transforms.length_advantage.without=1"),
    "vcrl": [*GIVEN["vcrl"], *off("filter={early: 0, late: 0}")],
    "rule_reasoner": ["task.name=gui_grounding,brightest_square", *off("curriculum.temperature=.inf")],
    "ssb": off("buffers.selective_samples={capacity: 0, take: 0, max_age: 1}"),
    "arpo": off("buffers.success_replay.capacity=0", *PLAIN_CLIP),
    "pipo": off("auxiliary.retrospective.window=100"),
    "ghpo": off("repairs.solution_hints.levels=[]"),
    "scaf_grpo": off("repairs.hinted_slot.exempt_steps=1000"),
    "luffy": off(SCALED, "repairs.expert_slot.slots=0", *PLAIN_CLIP, "regularisers.entropy.coefficient=0", BY_SEQUENCE),
    "kdrl": off(*PLAIN_CLIP, "regularisers.teacher.coefficient=0", BY_SEQUENCE),
    "kepo": [
        *GIVEN["kepo"],
        *off(*PLAIN_CLIP, "repairs.teacher_hint.attempts=0", "regularisers.distillation.coefficient=0"),
    ],
    "rent": off("reward_transforms.negative_entropy=false", NO_KL),
    "one_shot_em": off(
        "curriculum=in_order", "advantage=group_relative", "regularisers.entropy.coefficient=0", BY_SEQUENCE
    ),
    "hypervolume": GIVEN["hypervolume"],
    "ema_grpo": off("advantage=group_relative"),
    "overlong_shaping": off("reward_transforms.soft_overlong.factor=0"),
    "overlong_masking": off("token_weights.skip_truncated=false"),
    "tis": off("token_weights.sampler_ratio={low: 1, high: 1}"),
    "mis": off("token_weights.sampler_ratio={mode: truncate, low: 1, high: 1}"),
    "icepop": off("token_weights.sampler_ratio={mode: truncate, low: 1, high: 1}"),
    "kl_k2": off(NO_KL),
    "kl_rho_k3": off(NO_KL),
    "kl_reward": off(NO_KL),
    "kl_adaptive": off(NO_KL, "controllers.adaptive_kl=false"),
}
"""Every switch of a preset at the value that does nothing."""
WITHOUT_SCALE = {"noisy_backward", "hypervolume"}
"""A factor of all rewards is refused beside a deviation, so these are plain GRPO without it."""
TWO_STEPS = ("run.steps=2", "run.save_every=2", "eval.every=0", "data.held_out_rows=0", "engine.self_check=false")
UNCOMPARED = {"pieces", "advantage", "advantage_abs"}
"""An advantage per token is averaged again for its rollout, which rounds."""


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_with_its_switches_off_is_plain_grpo_bit_for_bit(preset: str, small_config: MakeConfig) -> None:
    task = [word for word in IDENTITY[preset] if word.startswith("task.")]
    plain = "grpo_centred" if preset in WITHOUT_SCALE else "grpo"
    words = (*TWO_STEPS, "optim.inner_epochs=2")
    runs = [
        Path(train(small_config(*words, *chosen, run=name))["paths"]["run"])
        for name, chosen in (
            ("plain", [f"algorithm={plain}", *task]),
            ("off", [f"algorithm={preset}", *IDENTITY[preset]]),
        )
    ]
    first, second = (lines(run / "metrics.jsonl") for run in runs)
    for one, other in zip(first, second, strict=True):
        assert {k: v for k, v in one.items() if k not in UNCOMPARED} == {
            k: v for k, v in other.items() if k not in UNCOMPARED
        }
    weights = [load_file(run / "checkpoints" / "step-000002" / "model.safetensors") for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


STATEFUL = {
    "buffers": ["algorithm=arpo", "algorithm.curriculum=one_row"],
    "selective_samples": ["algorithm=ssb", *GIVEN["ssb"]],
    "retrospective": ["algorithm=pipo", "algorithm.auxiliary.retrospective.window=1"],
    "variance_bank": ["algorithm=vcrl", *GIVEN["vcrl"]],
    "task_deficit": [
        "algorithm=rule_reasoner",
        "task.name=gui_grounding,brightest_square",
        "algorithm.curriculum.every=1",
    ],
    "ema": ["algorithm=ema_grpo"],
    "adaptive_kl": ["algorithm=kl_adaptive"],
    "hypervolume": ["algorithm=hypervolume", *GIVEN["hypervolume"], "eval.every=1", "data.held_out_rows=16"],
    "tripwires": ["safety.min_entropy=100"],
}


@pytest.mark.slow
@pytest.mark.parametrize("piece", STATEFUL)
def test_a_run_with_state_resumes_bit_for_bit(piece: str, small_config: MakeConfig) -> None:
    words = ("eval.every=0", "data.held_out_rows=0", "engine.self_check=false", *STATEFUL[piece])
    straight = small_config(*words, run="straight")
    stopped = small_config(*words, "run.steps=2", run="stopped")
    train(straight)
    train(stopped)
    train(replace(stopped, run=replace(stopped.run, steps=4)), resume=Path(str(stopped.run.dir)))
    assert_same_run(Path(str(straight.run.dir)), Path(str(stopped.run.dir)))
    first, second = (
        torch.load(Path(str(config.run.dir)) / "checkpoints/step-000004/trainer.pt", weights_only=False)
        for config in (straight, stopped)
    )
    assert first["algorithm"].keys() == second["algorithm"].keys()
    assert first["tripwires"] == second["tripwires"]

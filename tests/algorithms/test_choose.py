"""From settings to an algorithm: what merges, and what is refused at start-up with both names and a fix."""

import dataclasses
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.algorithms.batches import algorithm_of, batch_of
from vlmrl.algorithms.advantage_transforms import AdvantageTransform
from vlmrl.algorithms.advantages import GroupRelative
from vlmrl.algorithms.batch import Batch
from vlmrl.algorithms.choose import choose_algorithm, of_task
from vlmrl.algorithms.points import POINTS
from vlmrl.algorithms.presets import PRESETS
from vlmrl.algorithms.reducers import SequenceMean, TokenMean
from vlmrl.algorithms.regularisers import Kl
from vlmrl.algorithms.surrogates import Cispo, Clip
from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.registry import find_tasks
from vlmrl.resolve import resolve, to_yaml

GIVEN = {
    "trust_grpo": ["algorithm.judge=tests.algorithms.test_choose.Fair"],
    "grpo_lambda": ["algorithm.reward_transforms.ranked_length.alpha=0.6"],
    "noisy_backward": ["algorithm.reward_transforms.backward_corrected={false_positive: 0.1, false_negative: 0.2}"],
    "noisy_forward": ["algorithm.advantage.false_negative=0.2"],
    "vcrl": ["algorithm.curriculum.capacity=8"],
    "rule_reasoner": ["task.name=gui_grounding,detection"],
    "ssb": ["algorithm.buffers.selective_samples={capacity: 8, take: 2, max_age: 4}"],
    "hypervolume": ["algorithm.controllers.hypervolume.objectives=[hit]"],
    "kdrl": ["algorithm.teacher=tiny"],
    "kepo": ["algorithm.teacher=tiny", "algorithm.regularisers.distillation.mixture=0.5"],
}
"""What a preset leaves to the user."""


def refusal(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        choose_algorithm(resolve(Config, words=words))
    return str(caught.value)


@dataclasses.dataclass(frozen=True)
class Doubled(AdvantageTransform):
    """A times two."""

    factor: float = 2.0
    """Two."""

    def __call__(self, advantages_BG: torch.Tensor, batch: Batch) -> torch.Tensor:
        return advantages_BG * self.factor


@dataclasses.dataclass(frozen=True)
class Fair(POINTS["judge"].base):  # type: ignore[name-defined, misc]
    """The same for all."""

    def __call__(self, group: object) -> list[float]:
        return [0.5] * len(group.rollouts)  # type: ignore[attr-defined]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_possible(preset: str) -> None:
    algorithm = choose_algorithm(resolve(Config, words=[f"algorithm={preset}", *GIVEN.get(preset, [])]))
    if preset in GIVEN:
        assert re.search("has to be given|asks for|chooses between", refusal(f"algorithm={preset}"))
    changed = {name for name in POINTS if getattr(algorithm, name) != getattr(algorithm_of(), name)}
    assert changed - {"judge"} == set(PRESETS[preset].settings)


def test_published_values() -> None:
    dapo = algorithm_of("algorithm=dapo")
    assert dapo.surrogate == Clip(0.2, 0.28)
    assert dapo.reducer == TokenMean()
    assert dapo.filter.max_refills == 10
    assert algorithm_of("algorithm=gspo").surrogate == Clip(3e-4, 4e-4, level="sequence")
    assert algorithm_of("algorithm=rloo").regularisers["kl"] == Kl(0.05, estimator="k1", place="reward")
    assert algorithm_of("algorithm=gui_g1").reducer.constant == 64  # type: ignore[attr-defined]


def test_a_setting_changes_one_piece_of_a_preset() -> None:
    dapo = algorithm_of("algorithm=dapo", "algorithm.advantage.scale=batch")
    assert dapo.advantage == GroupRelative(scale="batch")
    assert dataclasses.replace(dapo, advantage=GroupRelative()) == algorithm_of("algorithm=dapo")
    assert algorithm_of("algorithm=dapo", "algorithm.surrogate.clip_low=0.1").surrogate == Clip(0.1, 0.28)


def test_another_piece_drops_the_options_of_the_one_it_replaces() -> None:
    assert algorithm_of("algorithm=dapo", "algorithm.surrogate=cispo").surrogate == Cispo()
    assert algorithm_of("algorithm=dapo", "algorithm.surrogate={name: cispo, cap: 3}").surrogate == Cispo(3.0)
    assert algorithm_of("algorithm=disco", "algorithm.objective=none").objective is None


def test_pieces_with_labels_are_added_and_left_out() -> None:
    dapo = algorithm_of(
        "algorithm=dapo",
        "algorithm.reward_transforms.soft_overlong=false",
        "algorithm.token_weights.skip_truncated=true",
    )
    assert dapo.reward_transforms == {}
    assert list(dapo.token_weights) == ["skip_truncated"]
    two = algorithm_of(
        "algorithm.regularisers.kl.coefficient=0.1",
        "algorithm.regularisers.near={name: kl, target: old, coefficient: 0.2}",
    )
    assert two.regularisers == {"kl": Kl(0.1), "near": Kl(0.2, target="old")}


def test_settings_of_pieces_survive_a_settings_file(tmp_path: Path) -> None:
    words = ["algorithm=dapo", "algorithm.surrogate=cispo", "algorithm.token_weights.skip_truncated=true"]
    config = resolve(Config, words=words)
    (tmp_path / "settings.yaml").write_text(to_yaml(config))
    again = resolve(Config, file=tmp_path / "settings.yaml")
    assert again == config
    assert choose_algorithm(again) == choose_algorithm(config)


def test_a_dotted_path_names_a_piece_of_ones_own() -> None:
    name = "tests.algorithms.test_choose.Doubled"
    algorithm = algorithm_of(f"algorithm.advantage_transforms.mine={{name: {name}, factor: 3}}")
    (piece,) = algorithm.advantage_transforms.values()
    assert piece(torch.ones(1, 2), batch_of([[1.0, 0]])).tolist() == [[3, 3]]
    assert "must be a dataclass derived from" in refusal(f"algorithm.surrogate={name}")
    assert "cannot be imported" in refusal("algorithm.surrogate=no_such_module.Piece")


def test_a_task_folder_brings_its_own_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "squares"
    folder.mkdir()
    source = find_tasks()["gui_grounding"].path.parents[1] / "examples/own_task/tasks/brightest_square/task.py"
    (folder / "task.py").write_text(source.read_text())
    body = Path(__file__).read_text().split("@dataclasses", 1)[1].split("@dataclasses")[0]
    (folder / "algorithm.py").write_text(
        "import dataclasses\nimport torch\n"
        "from vlmrl.algorithms.advantage_transforms import AdvantageTransform\n"
        f"from vlmrl.algorithms.batch import Batch\n\n@dataclasses{body}"
    )
    monkeypatch.setenv("VLMRL_TASKS", str(tmp_path))
    words = ["task.name=squares", "algorithm.advantage_transforms.doubled=true"]
    (piece,) = choose_algorithm(resolve(Config, words=words)).advantage_transforms.values()
    assert type(piece).__module__ == "vlmrl_tasks.squares.algorithm"
    assert isinstance(sys.modules["vlmrl_tasks.squares.algorithm"], ModuleType)
    assert "no such advantage transform" in refusal("algorithm.advantage_transforms.doubled=true")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["algorithm=dapoo"], r"algorithm\.preset=dapoo: no such preset; did you mean dapo"),
        (["algorithm.surrogate=cipso"], r"no such surrogate; did you mean cispo .*docs/algorithms\.md"),
        (["algorithm.surrogate.clip_hihg=1"], r"clip_hihg.*Did you mean .*clip_high.*see clip in docs"),
        (["algorithm.token_weights.truncated=true"], r"did you mean skip_truncated"),
        (["algorithm.token_weights.skip_truncated=3"], r"must be true, false, a name or a mapping"),
        (["algorithm.surrogate.clip_high=wide"], r"algorithm\.surrogate\.clip_high must be a number"),
        (["algorithm.clip_high=0.3"], r"Did you mean algorithm\.surrogate\.clip_high"),
        (["algorithm.kl_coefficient=0.3"], r"Did you mean algorithm\.regularisers\.kl\.coefficient"),
        (["rollout.group_size=1"], r"algorithm\.advantage: a group of one \(rollout\.group_size=1\)"),
        (["algorithm.reward_transforms.soft_overlong.buffer=64"], r"buffer=64 must be above 0"),
        (["algorithm.reward_transforms.temporal_bonus=true"], r"temporal_bonus.*plan=group_only.*shuffled_frames"),
        (["algorithm.regularisers.kl={target: teacher, coefficient: 1}"], r"kl.*asks for a teacher"),
        (["algorithm.reward_transforms.consistency=true"], r"consistency.*asks for a judge"),
        (["algorithm=noisy_backward", *GIVEN["noisy_backward"], "algorithm.advantage.scale=group"],
         r"reward_transforms\.backward_corrected.*algorithm\.advantage=group_relative.*scale=none"),
        (["algorithm=hypervolume", *GIVEN["hypervolume"], "algorithm.advantage.scale=batch"],
         r"controllers\.hypervolume.*group_relative"),
        (["algorithm=noisy_forward", *GIVEN["noisy_forward"], "algorithm.reward_transforms.soft_overlong=true"],
         r"soft_overlong changes rewards.*forward_corrected"),
        (["algorithm=disco", "algorithm.advantage_transforms.undo_dilution=true"],
         r"objective=discriminative.*algorithm\.advantage_transforms"),
        (["algorithm=disco", "algorithm.token_weights.skip_truncated=true"], r"algorithm\.token_weights has no effect"),
        (["algorithm.repairs.expert_slot=true"], r"repairs\.expert_slot.*expert_surrogate=expert_shaping"),
        (["algorithm.regularisers.kl={coefficient: 1, estimator: k1}"], r"k1 has no gradient in the loss"),
        (["algorithm.regularisers.kl={coefficient: 1, place: reward}"], r"k3 has a wrong gradient in the reward"),
        (["algorithm.controllers.adaptive_kl=true"], r"adaptive_kl acts on kl, which is not used"),
        (["algorithm.curriculum={name: variance_bank, capacity: 3}"], r"variance_bank.*algorithm\.filter=keep_all"),
        (["algorithm=ema_grpo", "task.name=gui_grounding,detection", "task.each.detection.scale=none"],
         r"task\.each\.detection\.scale=none has no effect with algorithm\.advantage=ema_scaled"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(words: list[str], message: str) -> None:
    assert re.search(message, refusal(*words), re.DOTALL), refusal(*words)


def test_a_task_has_its_own_scale() -> None:
    plain = algorithm_of()
    assert of_task(plain, None) is plain
    assert of_task(plain, "none").advantage == GroupRelative(scale="none")
    assert of_task(plain, "none").reducer == SequenceMean()


def test_a_point_is_a_field_and_a_setting() -> None:
    names = {field.name for field in dataclasses.fields(Config().algorithm)} - {"preset", "teacher"}
    assert names == set(POINTS) == {field.name for field in dataclasses.fields(algorithm_of())}

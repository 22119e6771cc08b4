"""A step that cannot be taken is left out and kept for study; a run that goes wrong says so, and stops if asked to."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.conftest import MakeConfig
from tests.training.test_run import lines
from vlmrl.algorithms.batch import Tokens
from vlmrl.algorithms.surrogates import Clip, Loss
from vlmrl.cli.main import main
from vlmrl.config import SafetyConfig
from vlmrl.errors import UserError
from vlmrl.training.run import train
from vlmrl.training.safety import Tripwires, beyond

FINE = {"kl": 0.1, "truncated": 0.1, "unparsed": 0.2, "entropy": 0.5}


@dataclass(frozen=True)
class Breaking(Clip):
    """Its loss is not finite in steps whose learning rate says so."""

    broken: str = "loss"
    """loss or gradient."""

    def __call__(self, logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, tokens: Tokens) -> Loss:
        loss, low, high = super().__call__(logprobs_NT, old_NT, advantages_NT, tokens)
        if tokens.mask_NT.sum() % 2:
            return Loss(loss, low, high)
        broken = loss * torch.inf if self.broken == "loss" else loss + (logprobs_NT - logprobs_NT).sqrt()
        return Loss(broken, low, high)


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_skipped_and_its_batch_saved(broken: str, small_config: MakeConfig) -> None:
    config = small_config(
        f"algorithm.surrogate={{name: tests.training.test_safety.Breaking, broken: {broken}}}",
        "eval.every=0",
        "run.steps=6",
        "data.held_out_rows=0",
    )
    run = Path(train(config)["paths"]["run"])
    steps = [m for m in lines(run / "metrics.jsonl") if m["kind"] == "train"]
    skipped = [m["step"] for m in steps if m["skipped"]]
    assert 0 < len(skipped) < 6
    assert sorted(path.name for path in (run / "faults").iterdir()) == [f"step-{s:06d}.pt" for s in skipped]
    assert all(torch.isfinite(torch.tensor(m["loss"])) for m in steps)
    batch = torch.load(run / "faults" / f"step-{skipped[0]:06d}.pt", weights_only=False)
    assert batch["step"] == skipped[0]
    assert len(batch["groups"]) == 6
    assert batch["tokens"]["mask_NT"].shape[0] == 24


def test_tripwires() -> None:
    limits = SafetyConfig()
    assert list(beyond(FINE, limits)) == []
    bad = {"kl": 2.0, "truncated": 0.95, "unparsed": 0.99, "entropy": 0.001}
    found = list(beyond(bad, limits))
    assert [text.partition("safety.")[2].partition("=")[0] for text in found] == [
        "max_kl", "max_truncated", "max_unparsed", "min_entropy",
    ]  # fmt: skip
    assert list(beyond(bad, SafetyConfig(None, None, None, None))) == []
    assert list(beyond({"groups": 0}, limits)) == []


def test_a_tripwire_speaks_when_something_changes() -> None:
    wires = Tripwires(SafetyConfig(stop_after=2))
    wires.saved(1)
    said = [wires.observe(metrics) for metrics in (FINE, {**FINE, "kl": 3.0}, {**FINE, "kl": 4.0})]
    assert said == [None, "kl 3 is above safety.max_kl=1", None]
    assert wires.stops
    assert wires.observe(FINE) == "back within the tripwires after 2 steps"
    assert not wires.stops


def test_a_checkpoint_is_good_once_its_weights_have_sampled_well() -> None:
    wires = Tripwires(SafetyConfig())
    for step, metrics in enumerate((FINE, FINE, {**FINE, "kl": 3.0}), 1):
        wires.observe(metrics)
        wires.saved(step)
    # the third step was sampled by the weights of the second checkpoint
    assert (wires.last_good, wires.newest) == (1, 3)


def test_a_run_beyond_a_tripwire_stops_and_keeps_its_last_good_checkpoint(small_config: MakeConfig) -> None:
    # entropy is minimised, fast
    config = small_config(
        "algorithm=one_shot_em",
        "optim.lr=1e-3",
        "safety.min_entropy=0.5",
        "safety.max_unparsed=null",
        "safety.stop_after=2",
        "run.steps=40",
        "run.save_every=1",
        "eval.every=0",
        "data.held_out_rows=0",
    )
    with pytest.raises(UserError, match=r"2 steps beyond a tripwire: entropy .* is below safety\.min_entropy=0\.5"):
        train(config)
    run = Path(str(config.run.dir))
    steps = [m for m in lines(run / "metrics.jsonl") if m["kind"] == "train"]
    assert steps[-3]["entropy"] > 0.5 > steps[-2]["entropy"]
    stopped = str(config.run.dir)
    assert main(["train", "--resume", stopped, "safety.stop_after=0", "--steps", str(steps[-1]["step"] + 1)]) == 0
    kept = sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").iterdir())
    assert kept == [steps[-3]["step"] - 1, steps[-1]["step"] + 1]

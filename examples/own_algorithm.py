"""A piece of an algorithm: large advantages are flattened. `python examples/own_algorithm.py` trains with it."""

from dataclasses import dataclass

from torch import Tensor

from vlmrl.algorithms.advantage_transforms import AdvantageTransform
from vlmrl.algorithms.batch import Batch
from vlmrl.cli.main import main


@dataclass(frozen=True)
class Flattened(AdvantageTransform):
    """A / (1 + |A| / limit): a single success in a large group does not outweigh everything else."""

    limit: float = 2.0
    """What |A| tends to; .inf switches the piece off."""

    def __call__(self, advantages_BG: Tensor, batch: Batch) -> Tensor:
        return advantages_BG / (1 + advantages_BG.abs() / self.limit)


if __name__ == "__main__":
    piece = "algorithm.advantage_transforms.flat={name: own_algorithm.Flattened, limit: 1.5}"
    raise SystemExit(main(["train", "--task", "gui_grounding", "--steps", "20", piece]))

"""What every piece of an algorithm is: a dataclass whose fields are its settings, which says what it needs."""

import re
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vlmrl.algorithms.algorithm import Algorithm

Need = Literal["old", "entropy", "now", "reference", "teacher", "logits", "judge", "contrast"]
"""What costs something and is computed only if a piece asks for it:

old         log-probs of the whole step under the weights that sampled it, before the update
entropy     per-token entropies of the whole step under those weights
now         log-probs of the whole step before every optimiser step
reference   log-probs under the start model
teacher     a second model: algorithm.teacher
logits      the policy's whole distributions, with gradient; memory for tokens times vocabulary
judge       scores of the thoughts: algorithm.judge
contrast    answers to another view of the prompt, from the rollout plan
"""


def required() -> Any:
    """A setting without a default, because no source gives one. A piece with one unset is refused at start-up."""
    return field(default=None, metadata={"required": True})


class Piece:
    """One idea. Subclasses are dataclasses: fields are settings, with a docstring under each."""

    def needs(self) -> frozenset[Need]:
        """What the engine must compute for it."""
        return frozenset()

    def fault(self, algorithm: "Algorithm", group_size: int, completion_limit: int) -> str | None:
        """Why it cannot work in this algorithm, and the fix; None if it can."""
        return None

    def metrics(self) -> dict[str, Any]:
        """What a step's line in metrics.jsonl says of its state."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must restore. A pure piece has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where a saved piece stood."""

    @classmethod
    def name(cls) -> str:
        """The name it has in settings: its class's name in lower case, words joined by _."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

"""QVHighlights' official figures of moment retrieval over several windows (standalone_eval/eval.py of moment_detr).

The official files have a confidence with every window and rank by it. A model's answer has none: its windows are ranked
in the order in which it names them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from vlmrl.answers.span import gold_spans
from vlmrl.evaluation.statistics import Estimate, mean_estimate
from vlmrl.rewards.spans import average_precisions
from vlmrl.task import ScoredRow
from vlmrl.types import Unparsed

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))
"""tIoU from which a window is found."""
MOST_WINDOWS = 10
"""Windows of an answer that are looked at."""
LENGTHS: Mapping[str, tuple[float, float]] = {"short": (0, 10), "middle": (10, 30), "long": (30, 150)}
"""Seconds that a target is longer than, and at most as long as."""


def moment_retrieval(rows: Sequence[ScoredRow]) -> dict[str, Estimate]:
    """`map` (mean over queries and `THRESHOLDS`), `map_50`, `map_75`, and the mAP of short, middle and long windows.

    A query without a target of a length is not in that length's figure; its windows of other lengths are misses there,
    as officially. An unparsed answer has no windows and scores 0, where the official script stops.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for sample, answer in rows:
        ranked = [] if isinstance(answer, Unparsed) else list(gold_spans(answer))[:MOST_WINDOWS]
        targets = gold_spans(sample.gold)
        precisions = average_precisions(ranked, targets, THRESHOLDS)
        found["map"].append(fmean(precisions))
        found["map_50"].append(precisions[THRESHOLDS.index(0.5)])
        found["map_75"].append(precisions[THRESHOLDS.index(0.75)])
        for name, (over, most) in LENGTHS.items():
            if of_length := [target for target in targets if over < target.length <= most]:
                found[f"map_{name}"].append(fmean(average_precisions(ranked, of_length, THRESHOLDS)))
    return {name: mean_estimate(values) for name, values in found.items()}

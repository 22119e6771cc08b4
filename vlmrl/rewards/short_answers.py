"""Scores of short answers to questions about charts and documents: pure functions in 0..1.

An answer is right if it agrees with one of the accepted ones. All functions raise ValueError if there is none.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from vlmrl.rewards.texts import edit_similarity, same_text

RELATIVE_TOLERANCE = 0.05
ANLS_THRESHOLD = 0.5
PERCENT = "%"


def relaxed_accuracy(answer: str, accepted: Sequence[str]) -> float:
    """1 for a number within 5% of gold, or for gold's very text in any case.

    Source: ChartQA (arXiv 2203.10244, section 5.1) as pix2struct's `relaxed_correctness` has it, which lmms-eval and
    VLMEvalKit follow. A text ending in % is a hundredth of its number. What follows from the rule, and is kept: gold
    "0" needs its very text, "5%" is not 5, "1,200" and "$5" are no numbers, and years have 5% of slack.
    """
    return max(float(_relaxed(answer, gold)) for gold in _required(accepted))


def _relaxed(answer: str, gold: str) -> bool:
    given, wanted = _number(answer), _number(gold)
    if given is not None and wanted:
        return abs(given - wanted) / abs(wanted) <= RELATIVE_TOLERANCE
    return answer.strip().lower() == gold.strip().lower()


def _number(text: str) -> float | None:
    try:
        number = float(text.rstrip(PERCENT)) / 100 if text.endswith(PERCENT) else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def anls(answer: str, accepted: Sequence[str]) -> float:
    """Average normalised Levenshtein similarity of one question (DocVQA, arXiv 2007.00398): 1 - edits / longer length,
    of the accepted answer that fits best; below 0.5 it is 0.

    Case and runs of space are folded. The scorers of lmms-eval and VLMEvalKit measure the longer length before spaces
    are folded, so that an answer padded with them comes near to 1; here it is measured after that.
    """
    similarity = max(edit_similarity(_folded(answer), _folded(gold)) for gold in _required(accepted))
    return similarity if similarity >= ANLS_THRESHOLD else 0.0


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 for the same text, once Unicode forms, case and runs of space are folded."""
    return max(float(same_text(answer, gold)) for gold in _required(accepted))


def _required(accepted: Sequence[str]) -> Sequence[str]:
    if not accepted:
        raise ValueError("nothing to compare with: a question needs at least one accepted answer")
    return accepted


SCORERS: Mapping[str, Callable[[str, Sequence[str]], float]] = {
    scorer.__name__: scorer for scorer in (relaxed_accuracy, anls, exact_match)
}
"""By name, as rows name the one that they are scored by."""

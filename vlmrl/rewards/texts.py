"""Rewards of free texts: pure functions in 0..1."""

import itertools
import re
from collections import Counter
from collections.abc import Hashable, Sequence

WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Lower-case words without punctuation, of any script."""
    return WORD.findall(text.casefold())


def rouge_mean(answer: str, target: str) -> float:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L over words.

    Source: Video-R1 (arXiv 2503.21776), reward of free-form rows, which takes google-research's rouge_score with its
    stemmer. Words are not stemmed here, and ROUGE-2 is left out for a target of one word, which has no pair: the right
    answer would score 2/3. Raises ValueError for a target without words.
    """
    given, wanted = words(answer), words(target)
    if not wanted:
        raise ValueError(f"the target {target!r} has no words to compare with")
    scores = [_overlap_f1(given, wanted), _f1(_longest_common(given, wanted), len(given), len(wanted))]
    if len(wanted) > 1:
        pairs = [list(itertools.pairwise(side)) for side in (given, wanted)]
        scores.append(_overlap_f1(pairs[0], pairs[1]))
    return sum(scores) / len(scores)


def word_accuracy(answer: str, target: str) -> float:
    """1 - word error rate, at least 0: word insertions, deletions and substitutions per word of the target.

    Source: Video-R1, reward of OCR rows. Words are what spaces separate; case and punctuation count. Raises ValueError
    for a target without words.
    """
    given, wanted = answer.split(), target.split()
    if not wanted:
        raise ValueError("the target has no words to compare with")
    return max(0.0, 1 - _edits(given, wanted) / len(wanted))


def _overlap_f1(given: Sequence[Hashable], wanted: Sequence[Hashable]) -> float:
    common = sum((Counter(given) & Counter(wanted)).values())
    return _f1(common, len(given), len(wanted))


def _f1(common: int, given: int, wanted: int) -> float:
    return 2 * common / (given + wanted) if common else 0.0


def _longest_common(given: Sequence[str], wanted: Sequence[str]) -> int:
    lengths = [0] * (len(wanted) + 1)
    for word in given:
        diagonal = 0
        for i, other in enumerate(wanted):
            above = lengths[i + 1]
            lengths[i + 1] = diagonal + 1 if word == other else max(above, lengths[i])
            diagonal = above
    return lengths[-1]


def _edits(given: Sequence[str], wanted: Sequence[str]) -> int:
    distances = list(range(len(wanted) + 1))
    for row, word in enumerate(given, start=1):
        diagonal, distances[0] = distances[0], row
        for i, other in enumerate(wanted):
            above = distances[i + 1]
            distances[i + 1] = min(diagonal + (word != other), above + 1, distances[i] + 1)
            diagonal = above
    return distances[-1]

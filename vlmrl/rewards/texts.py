"""Rewards of free texts: pure functions in 0..1."""

import itertools
import re
import unicodedata
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


def normalised(text: str) -> str:
    """Unicode-compatible form, case and runs of white space folded. Punctuation stays: -5 is not 5."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def same_text(first: str, second: str) -> bool:
    """Whether two texts are equal once normalised. Equality, not containment: a letter is in almost any text."""
    return normalised(first) == normalised(second)


def word_f1(first: str, second: str) -> float:
    """F1 of the two bags of words; equality where neither text has a word. Symmetric.

    A word counts as often as it occurs, as in SQuAD's scorer, so that repeating one pays nothing. GUI-R1 and OS-Atlas
    compare sets instead.
    """
    one, other = words(normalised(first)), words(normalised(second))
    return _overlap_f1(one, other) if one or other else float(same_text(first, second))


def edit_similarity(first: str, second: str) -> float:
    """1 - (Levenshtein distance) / (length of the longer text), of the texts as they are; 1 for equal ones. Symmetric.

    The ANLS family of scores thresholds it at 0.5 (GUI-Odyssey, DocVQA).
    """
    return 1.0 if first == second else 1 - _edits(first, second) / max(len(first), len(second))


def text_agreement(first: str, second: str) -> float:
    """The smaller of word F1 and edit similarity of the normalised texts: graded, and 1 only for the same text.

    Word F1 alone calls "50%" and "50" the same, and does not see the order of words. Symmetric.
    """
    return min(word_f1(first, second), edit_similarity(normalised(first), normalised(second)))


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
    """Levenshtein distance by Myers' bit-parallel algorithm (G. Myers, JACM 1999), in the form of H. Hyyrö (2001).

    A column of the table of distances is kept as the places where it rises and falls by one from row to row, bit i for
    item i of `wanted`, so that each item of `given` costs a few operations on whole numbers.
    """
    if not wanted:
        return len(given)
    places: dict[str, int] = {}
    for i, item in enumerate(wanted):
        places[item] = places.get(item, 0) | 1 << i
    every, last = (1 << len(wanted)) - 1, 1 << len(wanted) - 1
    rises, falls, distance = every, 0, len(wanted)
    for item in given:
        equal = places.get(item, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        right_rises = falls | every & ~(diagonal | rises)
        right_falls = rises & diagonal
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = every & (right_rises << 1 | 1)
        rises = every & (right_falls << 1 | ~(diagonal | right_rises))
        falls = right_rises & diagonal
    return distance

"""How well two texts agree. All results are in [0, 1] and symmetric in their arguments."""

import re
import unicodedata
from collections import Counter

PUNCTUATION = re.compile(r"[^\w\s]")


def normalised(text: str) -> str:
    """Unicode-compatible form, case and runs of white space folded. Punctuation stays: -5 is not 5."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def same_text(first: str, second: str) -> bool:
    """Whether two texts are equal once normalised. Equality, not containment: a letter is in almost any text."""
    return normalised(first) == normalised(second)


def word_f1(first: str, second: str) -> float:
    """F1 of the two bags of words, punctuation removed; equality where neither text has a word.

    A word counts as often as it occurs, as in SQuAD's scorer, so that repeating one pays nothing. GUI-R1 and OS-Atlas
    compare sets instead.
    """
    one, other = (PUNCTUATION.sub("", normalised(text)).split() for text in (first, second))
    if not one and not other:
        return float(same_text(first, second))
    common = sum((Counter(one) & Counter(other)).values())
    return 2 * common / (len(one) + len(other))


def edit_similarity(first: str, second: str) -> float:
    """1 - (Levenshtein distance) / (length of the longer text), of the texts as they are; 1 for two empty ones.

    The ANLS family of scores thresholds it at 0.5 (GUI-Odyssey, DocVQA). Costs the product of the lengths.
    """
    if first == second:
        return 1.0
    distances = list(range(len(first) + 1))
    for row, letter in enumerate(second, start=1):
        above_left, distances[0] = distances[0], row
        for column, other in enumerate(first, start=1):
            above = distances[column]
            distances[column] = min(above + 1, distances[column - 1] + 1, above_left + (letter != other))
            above_left = above
    return 1 - distances[-1] / max(len(first), len(second))


def text_agreement(first: str, second: str) -> float:
    """The smaller of word F1 and edit similarity of the normalised texts: graded, and 1 only for the same text.

    Word F1 alone calls "50%" and "50" the same, and does not see the order of words.
    """
    return min(word_f1(first, second), edit_similarity(normalised(first), normalised(second)))

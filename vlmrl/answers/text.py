"""Free answers: a text, or a number.

| completion                                              | a text asked for | a number asked for |
|---------------------------------------------------------|------------------|--------------------|
| a text of up to `LONGEST` characters                    | the text         | Unparsed           |
| one number: 3, -3.5, +2, 1,250                          | the text         | the number         |
| several numbers, a unit, words, hexadecimal, 1e5        | the text         | Unparsed           |
| NaN, Infinity, more than 12 digits before the dot       | the text         | Unparsed           |
| a longer text, a <think> or <answer> tag                | Unparsed         | Unparsed           |

Tags are refused because a text is compared word by word: what stands inside thoughts must not count.
"""

import re
from dataclasses import dataclass

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.convention import Convention
from vlmrl.types import Sample, Text, Unparsed

LONGEST = 2000
"""Characters of the longest answer: a paragraph. Longer ones are loops or essays, and comparing them is slow."""
TAG = re.compile(r"</?(think|answer)>")
NUMBER = re.compile(r"[-+]?([0-9]{1,12}|[0-9]{1,3}(,[0-9]{3}){1,3})(\.[0-9]{1,9})?")


def as_number(text: str) -> float | None:
    """The number that a text is, thousands separated by commas or not; None if it is anything else."""
    return float(text.replace(",", "")) if NUMBER.fullmatch(text) else None


@dataclass(frozen=True)
class TextAnswer(AnswerType):
    """A free answer in words."""

    def request(self, sample: Sample, convention: Convention) -> str:
        return "Answer with the text only"

    def render(self, sample: Sample, convention: Convention) -> str:
        if not isinstance(sample.gold, Text):
            raise TypeError(f"a text answer needs a text as gold, not {type(sample.gold).__name__}")
        return sample.gold.text

    def read(self, block: str, sample: Sample, convention: Convention) -> Text | Unparsed:
        """The answer, or why the completion is none (rules in the module's docstring)."""
        if TAG.search(block):
            return Unparsed("a <think> or <answer> tag inside the answer")
        return Text(block) if len(block) <= LONGEST else Unparsed(f"longer than {LONGEST} characters")

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """The question said back, and gold among other words: both may share words with gold, so both are guesses."""
        gold = self.render(sample, convention)
        return [
            Attack("the question", sample.question[:LONGEST], guess=True, blind=True),
            Attack("gold ten times", " ".join([gold] * 10)[:LONGEST], guess=True),
            Attack("an endless answer", "all of them " * LONGEST),
        ]


@dataclass(frozen=True)
class ShortAnswer(TextAnswer):
    """A word, a number or a phrase."""

    def request(self, sample: Sample, convention: Convention) -> str:
        return "Answer with a word, a number or a short phrase only"

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Those of a text, and spaces that make an answer long, against scores that divide by its length."""
        padded = f"~{' ' * (LONGEST - 2)}~"
        return [
            *super().attacks(sample, convention),
            Attack("two characters far apart", padded, guess=True, blind=True),
        ]


@dataclass(frozen=True)
class NumberAnswer(TextAnswer):
    """A number."""

    def request(self, sample: Sample, convention: Convention) -> str:
        return "Answer with the number only"

    def read(self, block: str, sample: Sample, convention: Convention) -> Text | Unparsed:
        """The number as it is written, or why the completion is none (rules in the module's docstring)."""
        return Unparsed("expected one number") if as_number(block) is None else Text(block)

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """A number that needs no video, and several of them."""
        gold = self.render(sample, convention)
        return [
            Attack("always one", "1", guess=True, blind=True),
            Attack("a range of numbers", "0, 1, 2, 3, 4, 5"),
            Attack("gold and another number", f"{gold} or 7"),
            Attack("gold in a sentence", f"The answer is {gold}."),
        ]


TEXT = TextAnswer()
SHORT_ANSWER = ShortAnswer()
NUMBER_ANSWER = NumberAnswer()

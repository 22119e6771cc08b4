"""Multiple-choice answers: the letter of one option and nothing else.

| completion                                            | result         |
|-------------------------------------------------------|----------------|
| one of the row's letters                              | the choice     |
| ... in lower case, in parentheses, with a dot behind  | the choice     |
| several letters, a letter and other text, the option  | Unparsed       |
| a letter that the row has no option for               | Unparsed       |

The options stand in the question; `Sample.extra["options"]` holds their texts in order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.convention import Convention
from vlmrl.types import Choice, Sample, Unparsed

LETTER = re.compile(r"([A-Za-z])\.?|\(([A-Za-z])\)")


def letters(sample: Sample) -> str:
    """The letters of the row's options: "ABCD" for four."""
    return ascii_uppercase[: len(sample.extra["options"])]


def listed_options(options: Sequence[str]) -> str:
    """The options as a question shows them, one a line: "A. a dog"."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))


@dataclass(frozen=True)
class ChoiceAnswer(AnswerType):
    """One option of the row."""

    def request(self, sample: Sample, convention: Convention) -> str:
        names = letters(sample)
        return f"Answer with the letter only: {', '.join(names[:-1])} or {names[-1]}"

    def render(self, sample: Sample, convention: Convention) -> str:
        if not isinstance(sample.gold, Choice):
            raise TypeError(f"a choice answer needs a choice as gold, not {type(sample.gold).__name__}")
        return sample.gold.letter

    def read(self, block: str, sample: Sample, convention: Convention) -> Choice | Unparsed:
        """The choice, or why the completion is none (rules in the module's docstring)."""
        found = LETTER.fullmatch(block)
        letter = (found[1] or found[2]).upper() if found else ""
        if not letter or letter not in letters(sample):
            return Unparsed(f"expected one letter of {letters(sample)}")
        return Choice(letter)

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Every option at once, and always the same one."""
        names = letters(sample)
        options = listed_options(sample.extra["options"])
        return [
            Attack("always the first option", names[0], guess=True, blind=True),
            Attack("always the last option", names[-1], guess=True, blind=True),
            Attack("all letters", ", ".join(names)),
            Attack("all letters in one word", names),
            Attack("all options", options),
            Attack("gold and another", f"{self.render(sample, convention)} or {names[0]}"),
        ]


CHOICE = ChoiceAnswer()

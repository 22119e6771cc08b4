"""Counts: how many of something there are.

| completion                                                   | result     |
|--------------------------------------------------------------|------------|
| a whole number in digits: 3, 12                              | the count  |
| a number word up to ninety-nine: three, Twenty-one           | the count  |
| either with a full stop behind it                            | the count  |
| several numbers, a number in a sentence, a range, a decimal  | Unparsed   |
| a negative number, more than 6 digits                        | Unparsed   |

Taking the first number of a sentence, as some scorers do, would read "between 3 and 5" as 3.
"""

import re

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.convention import Convention
from vlmrl.types import Sample, Text, Unparsed

DIGITS = re.compile(r"[0-9]{1,6}")
SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {word: number for number, word in enumerate(SMALL)} | {
    f"{ten}-{one}" if one else ten: 10 * tens + unit
    for tens, ten in enumerate(TENS, start=2)
    for unit, one in enumerate(["", *SMALL[1:10]])
}


def as_count(text: str) -> int | None:
    """The count that a text is, or None if it is anything else."""
    text = text.removesuffix(".")
    if DIGITS.fullmatch(text):
        return int(text)
    return WORDS.get("-".join(text.lower().split()))


class CountAnswer(AnswerType):
    """A count; its text is always in digits."""

    def request(self, sample: Sample, convention: Convention) -> str:
        """The sentence that asks the model for this format."""
        return "Answer with the number only"

    def render(self, sample: Sample, convention: Convention) -> str:
        """The gold count in digits."""
        if not isinstance(sample.gold, Text):
            raise TypeError(f"a count needs a text as gold, not {type(sample.gold).__name__}")
        return sample.gold.text

    def read(self, block: str, sample: Sample, convention: Convention) -> Text | Unparsed:
        """The count in digits, or why the completion is none (rules in the module's docstring)."""
        count = as_count(block)
        return Unparsed("expected one whole number") if count is None else Text(str(count))

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Counts that need no picture, and several of them."""
        gold = self.render(sample, convention)
        return [
            *(Attack(f"always {count}", str(count), guess=True, blind=True) for count in (0, 1, 3)),
            Attack("a list of counts", "0, 1, 2, 3, 4, 5", blind=True),
            Attack("gold and another count", f"{gold} or {int(gold) + 1}"),
            Attack("gold in a sentence", f"There are {gold} of them"),
        ]


COUNT = CountAnswer()

"""What every kind of answer can do: ask for itself, write itself, read itself, and be attacked."""

from abc import ABC, abstractmethod

from vlmrl.answers.attack import Attack
from vlmrl.answers.convention import Convention
from vlmrl.types import Answer, Sample, Unparsed


class AnswerType(ABC):
    """One way to answer, for training, evaluation and data checks alike."""

    @abstractmethod
    def request(self, sample: Sample, convention: Convention) -> str:
        """The sentence that asks the model for this format."""

    @abstractmethod
    def render(self, sample: Sample, convention: Convention) -> str:
        """The text a model of this family should write for the row's gold answer."""

    @abstractmethod
    def read(self, block: str, sample: Sample, convention: Convention) -> Answer | Unparsed:
        """The answer that a completion's answer block holds, in original pixels or seconds, or why it holds none.

        `block` is never empty and has no space around it (`vlmrl.answers.completion.answer_block`). The row's gold
        answer must not be looked at.
        """

    @abstractmethod
    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Answer blocks that must not pay on this row: guesses that do not look, and ways to answer several times."""

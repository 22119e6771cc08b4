"""Code answers: one fenced block of Python and nothing else.

One strict rule set for training, evaluation and data checks:

| completion                                             | result                     |
|--------------------------------------------------------|----------------------------|
| one block opened by ```python and closed by ```        | the code between them      |
| empty, no fence, a fence of another language           | Unparsed                   |
| text before or after the block, a fence left open      | Unparsed                   |
| several blocks, a fence inside the code                | Unparsed                   |
| a block of nothing but space                           | Unparsed                   |
| more than `MAX_BYTES`, a null character, no Unicode    | Unparsed                   |
| code that is not Python, or would not run              | the answer (it fails when it is run) |

Nothing here runs or compiles the code; only `vlmrl.sandbox` may.
"""

import re

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.convention import Convention
from vlmrl.types import Code, Sample, Unparsed

MAX_BYTES = 65_536
"""UTF-8 bytes of an answer. Published systems sample at most 10,240 tokens, about 40,000 characters of code; the
sandbox takes 100,000 bytes."""
FENCE = "```"
OPENING = re.compile(r"```python[ \t]*\r?\n")


class CodeAnswer(AnswerType):
    """An answer that is a Python script."""

    def request(self, sample: Sample, convention: Convention) -> str:
        """The sentence that asks the model for this format."""
        return f"Answer with Python code only, in one block that begins with {FENCE}python and ends with {FENCE}."

    def render(self, sample: Sample, convention: Convention) -> str:
        """The gold script in its block; coordinate conventions play no part."""
        return fenced(_gold(sample).source)

    def read(self, block: str, sample: Sample, convention: Convention) -> Code | Unparsed:
        """The script, or why the completion holds none (rules in the module's docstring)."""
        opening = OPENING.match(block)
        if opening is None:
            return Unparsed(f"expected a block that begins with {FENCE}python")
        if block.count(FENCE) != 2 or not block.endswith(FENCE):
            return Unparsed(f"expected one block, closed by {FENCE}, and nothing else")
        source = trimmed(block[opening.end() :].removesuffix(FENCE))
        problem = unusable(source)
        return Unparsed(problem) if problem else Code(source)

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Ways to be paid for a block that is none, or for several."""
        gold = _gold(sample).source
        return [
            Attack("an empty block", fenced("")),
            Attack("gold without its block", gold),
            Attack("gold in two blocks", f"{fenced(gold)}\n{fenced(gold)}"),
            Attack("gold in a block left open", f"{FENCE}python\n{gold}"),
            Attack("gold after other text", f"Here it is.\n{fenced(gold)}"),
        ]


CODE = CodeAnswer()


def fenced(source: str) -> str:
    """A script as an answer."""
    return f"{FENCE}python\n{source}\n{FENCE}"


def trimmed(source: str) -> str:
    """A script without empty lines before it and space after it: the form in which it is read back as it was."""
    return re.sub(r"\A(?:[ \t]*\r?\n)+", "", source).rstrip()


def unusable(source: str) -> str | None:
    """Why a script can be nobody's answer, if so; row loaders ask this about gold scripts."""
    try:
        length = len(source.encode())
    except UnicodeEncodeError:
        return "the code is not valid Unicode"
    if not source.strip():
        return "the code is empty"
    if length > MAX_BYTES:
        return f"the code has {length} bytes, more than {MAX_BYTES}"
    if "\0" in source:
        return "the code has a null character"
    return f"the code has {FENCE} in it, which ends its block" if FENCE in source else None


def _gold(sample: Sample) -> Code:
    if not isinstance(sample.gold, Code):
        raise TypeError(f"a code answer needs a script as gold, not {type(sample.gold).__name__}")
    return sample.gold

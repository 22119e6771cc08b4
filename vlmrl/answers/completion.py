"""Which part of a completion is the answer."""

import json
import re
from typing import Any

from vlmrl.types import PromptMode, Unparsed

FENCE_OPENING = re.compile(r"```(?:json)?[ \t]*\n")


def answer_block(text: str, mode: PromptMode) -> str | Unparsed:
    """The text to parse, without surrounding space.

    DIRECT: the whole completion. THINK: the content of the one <answer> block that follows the one <think> block;
    anything else in the completion is refused, so that an answer inside the thoughts can never be scored.
    """
    place = answer_place(text, mode)
    return place if isinstance(place, Unparsed) else text[place]


def answer_place(text: str, mode: PromptMode) -> slice | Unparsed:
    """Where in the completion `answer_block` is."""
    if mode is PromptMode.DIRECT:
        return _trimmed(text, 0, len(text)) or Unparsed("empty completion")
    if not text.lstrip().startswith("<think>") or text.count("<think>") != 1 or text.count("</think>") != 1:
        return Unparsed("expected exactly one <think> block at the start")
    rest = text.split("</think>")[1].strip()
    whole_block = rest.startswith("<answer>") and rest.endswith("</answer>")
    if not whole_block or rest.count("<answer>") != 1 or rest.count("</answer>") != 1:
        return Unparsed("expected exactly one <answer> block after the thoughts and nothing else")
    start = text.rindex("<answer>") + len("<answer>")
    return _trimmed(text, start, text.rindex("</answer>")) or Unparsed("empty answer block")


def _trimmed(text: str, start: int, end: int) -> slice | None:
    """The part without space around it; None if nothing is left."""
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    return slice(start, start + len(part.strip())) if part.strip() else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key appears twice")
    return dict(pairs)


def parse_json(text: str) -> Any | Unparsed:
    """The JSON value of an answer, read as data and never evaluated; one surrounding code fence is allowed.

    NaN, Infinity, duplicate keys and text before or after the value are refused.
    """
    if (opening := FENCE_OPENING.match(text)) and text.endswith("```"):
        text = text[opening.end() :].removesuffix("```")
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        return Unparsed(f"not JSON: {error}")

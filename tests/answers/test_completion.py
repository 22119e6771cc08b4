"""Where in a completion the answer stands."""

from hypothesis import given
from hypothesis import strategies as st

from vlmrl.answers.completion import answer_block, answer_place
from vlmrl.types import PromptMode, Unparsed

TAGS = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", " ", "\n", "a", "{}"])


@given(st.lists(TAGS).map("".join), st.sampled_from(PromptMode))
def test_the_place_holds_the_block(text: str, mode: PromptMode) -> None:
    block, place = answer_block(text, mode), answer_place(text, mode)
    if isinstance(place, Unparsed):
        assert block == place
    else:
        assert text[place] == block == text[place].strip() != ""


@given(st.text(), st.text())
def test_the_answer_of_a_thought_is_found_without_the_space_around_it(thought: str, answer: str) -> None:
    text = f" <think>{thought}</think>\n<answer>\n{answer} </answer>\n"
    if any(tag in thought + answer for tag in ("<think>", "</think>", "<answer>", "</answer>")):
        return
    place = answer_place(text, PromptMode.THINK)
    if answer.strip():
        assert not isinstance(place, Unparsed)
        assert text[place] == answer.strip()
    else:
        assert place == Unparsed("empty answer block")

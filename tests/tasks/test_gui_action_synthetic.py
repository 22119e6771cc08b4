"""Drawn screens: one right action per goal, decided by what is on the screen, and splits that share no picture."""

from collections import Counter

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box, Unit
from vlmrl.registry import find_task
from vlmrl.types import Action, Finish

FOLDER = find_task("gui_action")
synthetic = FOLDER.submodule("synthetic")
SCREENS = [synthetic.draw_screen(seed) for seed in range(400)]
QWEN3 = Convention(Unit.NORM1000, "json")


def test_a_seed_decides_everything() -> None:
    again = synthetic.draw_screen(7)
    assert again.image.tobytes() == SCREENS[7].image.tobytes()
    assert (again.goal, again.kind, again.target) == (SCREENS[7].goal, SCREENS[7].kind, SCREENS[7].target)


def test_every_kind_and_size_is_drawn() -> None:
    kinds = Counter(screen.kind for screen in SCREENS)
    assert set(kinds) == {"click", "scroll", "type", "open_app", "press_key"}
    assert min(kinds.values()) > 20
    assert max(kinds.values()) < 0.6 * len(SCREENS)  # one kind for all is no strategy
    sizes = {screen.image.size for screen in SCREENS}
    assert sizes == {(128, 128), (160, 96), (96, 160), (256, 256), (320, 192), (192, 320)}


def test_what_is_on_the_screen_decides_between_tap_and_scroll() -> None:
    taps = [screen for screen in SCREENS if screen.goal.startswith("tap")]
    for screen in taps:
        _, _, colour, shape = screen.goal.split(",")[0].split()
        there = [element for element in screen.elements if (element.colour, element.shape) == (colour, shape)]
        if screen.kind == "click":
            assert [element.box for element in there] == [screen.target]
        else:
            assert (there, screen.kind, screen.argument) == ([], "scroll", "down")
    assert 0.15 < sum(screen.kind == "scroll" for screen in taps) / len(taps) < 0.35


@pytest.mark.parametrize("screen", SCREENS[:40], ids=lambda screen: str(screen.seed))
def test_a_shape_fills_its_box_and_nothing_beyond(screen) -> None:
    pixels = screen.image.load()
    for element in screen.elements:
        left, top, right, bottom = element.box
        colour = synthetic.COLOURS[element.colour]
        around = [(x, y) for x in range(left - 1, right + 1) for y in range(top - 1, bottom + 1)]
        painted = [
            at for at in around if 0 <= at[0] < screen.image.width and 0 <= at[1] < screen.image.height
            and pixels[at] == colour
        ]  # fmt: skip
        assert painted
        assert all(left <= x < right and top <= y < bottom for x, y in painted)


def test_splits_share_no_picture() -> None:
    task = FOLDER.create({})
    train = {row.images[0].tobytes() for row in task.synthetic("train", 60, 0)}
    held_out = {row.images[0].tobytes() for row in task.synthetic("held_out", 60, 0)}
    assert not train & held_out


def test_rows_answer_to_their_own_gold() -> None:
    task = FOLDER.create({})
    for row in task.synthetic("train", 60, 3):
        text = task.render(row, QWEN3)
        answer = task.parse(text, Finish.STOP, row, QWEN3)
        assert isinstance(answer, Action)
        assert row.extra["actions"].fault(answer) is None
        if row.gold.point is None:
            assert answer == row.gold
        else:
            assert isinstance(row.extra["target"], Box)
            assert row.extra["target"].contains(answer.point)
        assert set(row.tags) == {"platform", "action"}
        assert len(text) < 60

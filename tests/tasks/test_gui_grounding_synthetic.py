"""Drawn screens: exact labels, unambiguous questions, and splits that share no picture."""

import re
from itertools import islice

import pytest

from vlmrl.models.families.qwen3_vl import Qwen3VL
from vlmrl.registry import find_task
from vlmrl.training.scenes import SceneKind

synthetic = find_task("gui_grounding").submodule("synthetic")
SCREENS = [synthetic.draw_screen(seed) for seed in range(300)]
CROWDED = [synthetic.draw_screen(seed, elements=(5, 8)) for seed in range(100)]


def test_a_seed_decides_everything():
    again = synthetic.draw_screen(7)
    assert (again.image.tobytes(), again.elements) == (SCREENS[7].image.tobytes(), SCREENS[7].elements)


def test_every_size_and_scale_is_drawn():
    sizes = {screen.image.size for screen in SCREENS}
    assert sizes == {(128, 128), (160, 96), (96, 160), (256, 256), (320, 192), (192, 320)}


@pytest.mark.parametrize("screen", CROWDED[:20], ids=lambda screen: str(screen.seed))
def test_an_elements_colour_fills_its_box_and_nothing_beyond(screen):
    pixels = screen.image.load()
    for element in screen.elements:
        left, top, right, bottom = element.box
        colour = synthetic.COLOURS[element.colour]
        painted = [
            (x, y)
            for x in range(max(0, left - 1), min(screen.image.width, right + 1))
            for y in range(max(0, top - 1), min(screen.image.height, bottom + 1))
            if pixels[x, y] == colour
        ]
        columns, rows = zip(*painted, strict=True)
        slack = 0.15 * (bottom - top)  # the tips of a star do not reach every edge
        assert left <= min(columns) <= left + slack
        assert top <= min(rows) <= top + slack
        assert right - 1 - slack <= max(columns) < right
        assert bottom - 1 - slack <= max(rows) < bottom


@pytest.mark.parametrize("screen", SCREENS[:50] + CROWDED, ids=lambda screen: str(screen.seed))
def test_an_instruction_names_exactly_its_target(screen):
    targets = {question.target for question in screen.questions()}
    assert targets == set(screen.elements)
    for question in screen.questions():
        words = set(re.findall(r"\w+", question.instruction))
        colours, words_or_shapes = (
            words & set(synthetic.COLOURS),
            words & {*synthetic.WORDS, *synthetic.SHAPES},
        )
        named = [
            element
            for element in screen.elements
            if (not colours or element.colour in colours) and (not words_or_shapes or element.label in words_or_shapes)
        ]
        assert colours or words_or_shapes
        assert named == [question.target]


def at_scale_1(screen):
    width, height = (side // screen.scale for side in screen.image.size)
    corners = [screen.image.getpixel((x, y)) for x, y in ((0, 0), (0, 10 * screen.scale), (0, 18 * screen.scale))]
    elements = [(e.label, e.colour, *(edge // screen.scale for edge in e.box)) for e in screen.elements]
    return str((width, height, corners, elements))


def test_a_screen_and_its_double_density_twin_are_in_the_same_split():
    by_content = {}
    for seed in range(4000):
        screen = synthetic.draw_screen(seed, elements=(1, 1))
        by_content.setdefault(at_scale_1(screen), set()).add(screen.split)
    assert all(len(splits) == 1 for splits in by_content.values())


def test_splits_share_no_picture_and_one_screen_in_eight_is_held_out():
    task = find_task("gui_grounding").create({})
    pictures = {
        split: {row.images[0].tobytes() for seed in (0, 1) for row in task.synthetic(split, 150, seed)}
        for split in ("train", "held_out")
    }
    assert not pictures["train"] & pictures["held_out"]
    assert sum(screen.split == "held_out" for screen in SCREENS) / len(SCREENS) == pytest.approx(1 / 8, abs=0.06)


def test_warm_up_scenes_ask_for_every_element_once_in_hundredths():
    task = find_task("gui_grounding").create({})
    for scene in islice(task.scenes(0, Qwen3VL.convention, SceneKind.CROWDED), 50):
        assert len(scene.turns) == len(scene.regions) >= 2
        for turn in scene.turns:
            key = "bbox_2d" if "bbox_2d" in turn.request else "point_2d"
            numbers = [int(number) for number in re.findall(r"\d+0\b|\b0\b", turn.completion)]
            assert turn.completion.startswith(f'{{"{key}": [')
            assert len(numbers) == (4 if key == "bbox_2d" else 2)


def test_scattered_answers_fall_in_and_around_their_boxes():
    task = find_task("gui_grounding").create({})
    exact, scattered = (
        [
            [int(number) for number in re.findall(r"\d+(?=[,\]])", turn.completion)]
            for scene in islice(task.scenes(0, Qwen3VL.convention, kind), 200)
            for turn in scene.turns
            if "point_2d" in turn.request and len(scene.turns) == 1
        ]
        for kind in (SceneKind.EXACT, SceneKind.SCATTERED)
    )
    shifts = [abs(there[0] - here[0]) for here, there in zip(exact, scattered, strict=True)]
    assert max(shifts) > 100
    assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in scattered)

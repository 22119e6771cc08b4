"""AndroidControl, as whole episodes for the Qwen scorer and as the single steps of UI-R1's test file.

Both hold points and boxes in pixels of the screenshot. A `direction` is AndroidControl's own, the way the view moves.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Unit
from vlmrl.loading.fields import id_field, require_keys, shown, text_field
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile
from vlmrl.types import Action, Sample

from .spaces import ANDROID_CONTROL, CLICK, LONG_PRESS, OPEN_APP, SCROLL, TYPE
from .steps import Gold, Shown, Step, candidate, episode, picture_name, place, single_step

STEP_KEYS = ("action_content", "screenshot", "step_instruction", "check_options")
PLACES = {"click": CLICK, "long_press": LONG_PRESS}


def episode_samples(file: RowFile, shown_: Shown, pictures: PictureFinder) -> Iterator[Sample]:
    """One row per step of every episode.

    The gold action is `check_options`, what the scorer compares with: its `swipe` names the direction of
    AndroidControl's scroll, while the two points in `action_content` were made up from it and do not always agree.
    """
    for index, row in enumerate(file.rows):
        where = file.where(index)
        goal, steps = text_field(row, "goal", where), row["steps"]
        name = f"{file.path.stem}-{id_field(row, 'episode_id', where)}"
        if not isinstance(steps, list) or not steps:
            raise UserError(f"{where}, field steps: must be a list of steps, not {shown(steps)}")
        yield from episode(
            [_step(file, step, f"{name}-{i}", f"{where}, step {i}", goal, pictures) for i, step in enumerate(steps)],
            shown_,
            pictures,
        )


def _step(file: RowFile, step: Any, id_: str, where: str, goal: str, pictures: PictureFinder) -> Step:
    if not isinstance(step, Mapping):
        raise UserError(f"{where}: must be an object with named fields, not {shown(step)}")
    require_keys(step, STEP_KEYS, (), "android-control step", where)
    name, instruction = picture_name(text_field(step, "screenshot", where)), step["step_instruction"]
    if not isinstance(instruction, str):
        raise UserError(f"{where}, field step_instruction: must be a text, not {shown(instruction)}")
    return Step(
        id=id_,
        where=where,
        screenshot=pictures.find(file.path, name, f"{where}, field screenshot"),
        goal=goal,
        instruction=instruction.strip() or None,
        space=ANDROID_CONTROL,
        gold=partial(_checked, step["check_options"], where=f"{where}, field check_options"),
    )


def _checked(checked: Any, record: ImageRecord, where: str) -> Gold:
    if not isinstance(checked, Mapping):
        raise UserError(f"{where}: must be an object with named fields, not {shown(checked)}")
    name = checked.get("action")
    boxes = checked.get("candidate_bbox", [])
    if not isinstance(boxes, list):
        raise UserError(f"{where}, candidate_bbox: must be a list of boxes, not {shown(boxes)}")
    around = tuple(candidate(box, Unit.ORIGINAL, record, f"{where}, candidate_bbox {i}") for i, box in enumerate(boxes))
    match name:
        case "click" | "long_press":
            gold = place(PLACES[name], checked.get("coordinate"), Unit.ORIGINAL, record, f"{where}, coordinate")
        case "type":
            gold = Gold(TYPE.action(text_field(checked, "text", where)))
        case "open":
            gold = Gold(OPEN_APP.action(text_field(checked, "text", where)))
        case "swipe":
            gold = Gold(SCROLL.action(text_field(checked, "direction", where)))
        case "system_button":
            gold = Gold(Action("press_key", text=text_field(checked, "button", where).lower()))
        case "wait":
            gold = Gold(Action("wait"))
        case _:
            raise UserError(
                f"{where}, action: {shown(name)} is no action of AndroidControl; correct the row or drop it"
            )
    return Gold(gold.action, around)


def ui_r1_test_samples(file: RowFile, shown_: Shown, pictures: PictureFinder) -> Iterator[Sample]:
    """UI-R1's file of AndroidControl steps with their instructions (low level)."""
    for index, row in enumerate(file.rows):
        where = file.where(index)
        require_keys(row, ("image", "gt", "task"), (), "ui-r1-test", where)
        name = picture_name(text_field(row, "image", where))
        step = Step(
            id=f"{file.path.stem}-{index}",
            where=where,
            screenshot=pictures.find(file.path, name, f"{where}, field image"),
            goal=None,
            instruction=text_field(row, "task", where),
            space=ANDROID_CONTROL,
            gold=partial(_original, row["gt"], where=f"{where}, field gt"),
        )
        yield single_step(step, (), (), shown_, pictures)


def _original(action: Any, record: ImageRecord, where: str) -> Gold:
    """An action as AndroidControl itself writes it."""
    if not isinstance(action, Mapping):
        raise UserError(f"{where}: must be an object with named fields, not {shown(action)}")
    name = action.get("action_type")
    match name:
        case "click" | "long_press":
            return place(PLACES[name], [action.get("x"), action.get("y")], Unit.ORIGINAL, record, f"{where}, x and y")
        case "input_text":
            return Gold(TYPE.action(text_field(action, "text", where)))
        case "open_app":
            return Gold(OPEN_APP.action(text_field(action, "app_name", where)))
        case "scroll":
            return Gold(SCROLL.action(text_field(action, "direction", where)))
        case "navigate_back" | "navigate_home":
            return Gold(Action("press_key", text=name.removeprefix("navigate_")))
        case "wait":
            return Gold(Action("wait"))
    raise UserError(f"{where}, action_type: {shown(name)} is no action of AndroidControl; correct the row or drop it")

"""The training and test rows of UI-R1 and GUI-R1: one step each, with a picture of its own."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Unit
from vlmrl.loading.boxes import FRACTION_CORNERS, PIXEL_CORNERS, target_box
from vlmrl.loading.fields import number_list, shown, text_field
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile
from vlmrl.types import Action, Row, Sample

from .spaces import CLICK, GUI_R1_HIGH, GUI_R1_LOW, GUI_R1_TEST, UI_R1
from .steps import Gold, Shown, Step, picture_name, place, single_step

UI_R1_ACTIONS = {
    "open_app": Action("open_app"),
    "scroll": Action("scroll"),
    "navigate_back": Action("press_key", text="back"),
    "input_text": Action("type"),
}
GUI_R1_PLACES = {
    "click": "click",
    "long_press": "long_press",
    "doubleclick": "double_click",
    "rightclick": "right_click",
    "moveto": "move_to",
}
GUI_R1_TEXTS = {"type": "type", "select": "select", "open_app": "open_app"}
GUI_R1_OTHERS = {
    "press_home": Action("press_key", text="home"),
    "press_back": Action("press_key", text="back"),
    "press_recent": Action("press_key", text="recent"),
    "enter": Action("press_key", text="enter"),
    "wait": Action("wait"),
    "close/delete": Action("close"),
    "complete": Action("finish", text="success"),
    "impossible": Action("finish", text="failure"),
}
NO_HISTORY = ("", "none")
"""What GUI-R1's `history` says of a first step, in lower case."""


def ui_r1_samples(file: RowFile, shown_: Shown, pictures: PictureFinder) -> Iterator[Sample]:
    """UI-R1's training rows: a box (x1, y1, x2, y2 in pixels) to click, or the bare kind of another action."""
    for index, row in enumerate(file.rows):
        where = file.where(index)
        name = picture_name(text_field(row, "img_filename", where))
        step = Step(
            id=f"{file.path.stem}-{index}",
            where=where,
            screenshot=pictures.find(file.path, name, f"{where}, field img_filename"),
            goal=None,
            instruction=text_field(row, "instruction", where),
            space=UI_R1,
            gold=partial(_ui_r1_gold, row, where=where),
        )
        yield single_step(step, (), (), shown_, pictures)


def _ui_r1_gold(row: Row, record: ImageRecord, where: str) -> Gold:
    action = row.get("action", "click")
    if "bbox" in row:
        if action != "click":
            raise UserError(f"{where}: has a bbox, but its action is {shown(action)}; only a click has a box")
        return _click_in(number_list(row["bbox"], 4, f"{where}, field bbox"), Unit.ORIGINAL, record, "ui-r1", where)
    if action not in UI_R1_ACTIONS:
        names = ", ".join(UI_R1_ACTIONS)
        raise UserError(f"{where}, field action: {shown(action)} needs a bbox or must be one of {names}")
    return Gold(UI_R1_ACTIONS[action])


def gui_r1_samples(file: RowFile, shown_: Shown, pictures: PictureFinder) -> Iterator[Sample]:
    """GUI-R1's rows. `gt_bbox` is a box or a point: fractions of the picture in training rows, pixels in test rows."""
    for index, row in enumerate(file.rows):
        where = file.where(index)
        trains = "task_type" in row
        instruction = text_field(row, "instruction", where)
        step = Step(
            id=f"{file.path.stem}-{index}",
            where=where,
            screenshot=_screenshot(file, row["image"], f"{where}, field image", pictures),
            goal=instruction,
            instruction=None,
            space=_gui_r1_space(row, where) if trains else GUI_R1_TEST,
            gold=partial(_gui_r1_gold, row, Unit.NORM1 if trains else Unit.ORIGINAL, where=where),
            tags={} if trains else {"group": text_field(row, "group", where)},
        )
        yield single_step(step, _history(row, where), (), shown_, pictures)


def _screenshot(file: RowFile, cell: Any, where: str, pictures: PictureFinder) -> Path | bytes:
    if file.container == "parquet":
        return pictures.embedded(cell, where)
    if not isinstance(cell, str) or not cell:
        raise UserError(f"{where}: must be the name of a picture, not {shown(cell)}")
    return pictures.find(file.path, picture_name(cell), where)


def _gui_r1_space(row: Row, where: str) -> Any:
    spaces = {"high": GUI_R1_HIGH, "low": GUI_R1_LOW}
    if row["task_type"] not in spaces:
        raise UserError(f"{where}, field task_type: must be high or low, not {shown(row['task_type'])}")
    return spaces[row["task_type"]]


def _history(row: Row, where: str) -> Sequence[str] | str:
    """The action history as the file words it: one text for all earlier steps."""
    history = row.get("history")
    if history is None:
        return ()
    if not isinstance(history, str):
        raise UserError(f"{where}, field history: must be a text, not {shown(history)}")
    return () if history.strip().lower() in NO_HISTORY else history.strip()


def _gui_r1_gold(row: Row, unit: Unit, record: ImageRecord, where: str) -> Gold:
    name = text_field(row, "gt_action", where).lower()
    if name in GUI_R1_PLACES:
        numbers, box_where = row["gt_bbox"], f"{where}, field gt_bbox"
        if isinstance(numbers, list) and len(numbers) == 2:
            gold = place(CLICK, numbers, unit, record, box_where)
        else:
            gold = _click_in(number_list(numbers, 4, box_where), unit, record, "gui-r1", where)
        return Gold(Action(GUI_R1_PLACES[name], point=gold.action.point), gold.candidates)
    if name in GUI_R1_TEXTS:
        return Gold(Action(GUI_R1_TEXTS[name], text=text_field(row, "gt_input_text", where)))
    if name == "scroll":
        return Gold(Action("scroll", direction=text_field(row, "gt_input_text", where).strip().lower()))
    if name in GUI_R1_OTHERS:
        return Gold(GUI_R1_OTHERS[name])
    raise UserError(f"{where}, field gt_action: {shown(name)} is no action of GUI-R1; correct the row or drop it")


def _click_in(numbers: list[float], unit: Unit, record: ImageRecord, schema: str, where: str) -> Gold:
    form = PIXEL_CORNERS if unit is Unit.ORIGINAL else FRACTION_CORNERS
    box = target_box(numbers, form, record, schema, f"{where}, field bbox")
    return Gold(CLICK.action(box.center), (box,))

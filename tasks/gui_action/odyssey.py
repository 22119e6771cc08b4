"""GUI-Odyssey: one JSON file per episode, coordinates in thousandths of the screen."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Unit
from vlmrl.loading.fields import number_list, require_keys, shown, text_field
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile
from vlmrl.types import Action, Row, Sample

from .spaces import CLICK, GUI_ODYSSEY, LONG_PRESS, SWIPE, TYPE
from .steps import Gold, Shown, Step, candidate, episode, picture_name, place

STEP_KEYS = ("step", "screenshot", "action", "info")
STEP_NOTES = ("ps", "description", "intention", "context", "low_level_instruction", "sam2_bbox")
"""Fields that the first release's steps lack."""
PLACES = {"CLICK": CLICK, "LONG_PRESS": LONG_PRESS}
KEYS = {"KEY_HOME": "home", "KEY_BACK": "back", "KEY_APPSELECT": "recent", "HOME": "home", "BACK": "back"}
"""Key presses: `info` of a CLICK, or in the data's description an action of its own."""
FINISHES = {"COMPLETE": "success", "INCOMPLETE": "failure", "IMPOSSIBLE": "failure"}


def odyssey_samples(file: RowFile, shown_: Shown, pictures: PictureFinder) -> Iterator[Sample]:
    """One row per step of every episode; tagged with the episode's category."""
    for index, row in enumerate(file.rows):
        where = file.where(index)
        info, steps = row["task_info"], row["steps"]
        if not isinstance(info, Mapping):
            raise UserError(f"{where}, field task_info: must be an object with named fields, not {shown(info)}")
        if not isinstance(steps, list) or not steps:
            raise UserError(f"{where}, field steps: must be a list of steps, not {shown(steps)}")
        goal = text_field(info, "instruction", f"{where}, field task_info")
        category = text_field(info, "category", f"{where}, field task_info")
        id_ = text_field(row, "episode_id", where)
        yield from episode(
            [
                _step(file, step, f"{id_}-{i}", f"{where}, step {i}", goal, category, pictures)
                for i, step in enumerate(steps)
            ],
            shown_,
            pictures,
        )


def _step(file: RowFile, step: Any, id_: str, where: str, goal: str, category: str, pictures: PictureFinder) -> Step:
    if not isinstance(step, Mapping):
        raise UserError(f"{where}: must be an object with named fields, not {shown(step)}")
    require_keys(step, STEP_KEYS, STEP_NOTES, "gui-odyssey step", where)
    name = picture_name(text_field(step, "screenshot", where))
    noted = step.get("low_level_instruction")
    return Step(
        id=id_,
        where=where,
        screenshot=pictures.find(file.path, name, f"{where}, field screenshot"),
        goal=goal,
        instruction=noted if isinstance(noted, str) and noted.strip() else None,
        space=GUI_ODYSSEY,
        gold=partial(_gold, step, where=where),
        tags={"category": category},
    )


def _gold(step: Row, record: ImageRecord, where: str) -> Gold:
    action, info = text_field(step, "action", where), step["info"]
    info_where = f"{where}, field info"
    key = info if isinstance(info, str) and info in KEYS else action
    if action in {"CLICK", *KEYS} and key in KEYS:
        return Gold(Action("press_key", text=KEYS[key]))
    if action in PLACES:
        if not isinstance(info, list) or len(info) != 1:
            raise UserError(f"{info_where}: must be a list of one point, not {shown(info)}")
        gold = place(PLACES[action], info[0], Unit.NORM1000, record, info_where)
        box = step.get("sam2_bbox") or None
        boxes = () if box is None else (candidate(box, Unit.NORM1000, record, f"{where}, field sam2_bbox"),)
        return Gold(gold.action, boxes)
    if action == "SCROLL":
        return Gold(SWIPE.action(_direction(info, info_where)))
    if action in ("TYPE", "TEXT"):
        return Gold(TYPE.action(text_field(step, "info", where)))
    if action in FINISHES:
        return Gold(Action("finish", text=FINISHES[action]))
    raise UserError(f"{where}, field action: {shown(action)} is no action of GUI-Odyssey; correct the row or drop it")


def _direction(info: Any, where: str) -> str:
    """Where the finger moves: along the axis of the longer way, vertically when both are equal.

    Source: GUI-Odyssey, data/format_converter.py, decode_action.
    """
    if not isinstance(info, list) or len(info) != 2:
        raise UserError(f"{where}: must be a list of two points, not {shown(info)}")
    (x1, y1), (x2, y2) = (number_list(point, 2, where) for point in info)
    across, down = x2 - x1, y2 - y1
    if abs(across) > abs(down):
        return "left" if across < 0 else "right"
    return "up" if down < 0 else "down"

"""Data files of GUI steps -> samples, every field of every row checked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vlmrl.answers.action import ActionSpace
from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Unit
from vlmrl.loading.boxes import PIXEL_CORNERS, target_box
from vlmrl.loading.fields import number_list, prompt_mode, require_keys, shown, tags_field, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows
from vlmrl.loading.schemas import Schema, common_schema
from vlmrl.types import Action, Row, Sample

from .android_control import episode_samples, ui_r1_test_samples
from .odyssey import odyssey_samples
from .r1 import gui_r1_samples, ui_r1_samples
from .spaces import GENERAL
from .steps import PICTURE_FOLDERS, Gold, Shown, Step, place, single_step

ACTION_KEYS = ("action", "point", "text", "direction")


@dataclass(frozen=True, kw_only=True)
class StepSchema(Schema):
    """A published form of recorded steps."""

    read: Callable[[RowFile, Shown, PictureFinder], Iterator[Sample]]


def load_rows(path: Path, shown_: Shown, schemas: Sequence[StepSchema] | None = None) -> list[Sample]:
    """The rows of a file, or of all files of a folder, in one of `schemas` (all of them if none are named).

    Raises UserError naming file, row and field for anything that cannot be trained on or scored.
    """
    return _load(path, data_files(path), shown_, schemas)


def load_odyssey(path: Path, shown_: Shown) -> list[Sample]:
    """GUI-Odyssey's steps: of all episodes of a folder, or of the test episodes of one of its splits, a file in splits/
    beside annotations/. Raises UserError as `load_rows` does."""
    if path.is_dir() or path.parent.name != "splits":
        return load_rows(path, shown_, (ODYSSEY_EPISODES,))
    (split,) = read_rows(path, one_object=True).rows[:1]
    names = _texts(split.get("test"), f"{path}, field test")
    episodes = [path.absolute().parent.parent / "annotations" / name for name in names]
    return _load(path, episodes, shown_, (ODYSSEY_EPISODES,))


def _load(path: Path, paths: Sequence[Path], shown_: Shown, schemas: Sequence[StepSchema] | None) -> list[Sample]:
    files = [read_rows(file, one_object=True) for file in paths]
    schema = common_schema(path, files, SCHEMAS, schemas)
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples = [sample for file in files for sample in schema.read(file, shown_, pictures)]
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


def _simple_samples(file: RowFile, shown_: Shown, pictures: PictureFinder) -> Iterator[Sample]:
    """One's own rows: points and boxes in pixels."""
    for index, row in enumerate(file.rows):
        where = file.where(index)
        step = Step(
            id=text_field(row, "id", where) if "id" in row else f"{file.path.stem}-{index}",
            where=where,
            screenshot=pictures.find(file.path, text_field(row, "image", where), f"{where}, field image"),
            goal=text_field(row, "goal", where),
            instruction=text_field(row, "instruction", where) if "instruction" in row else None,
            space=_simple_space(row, where),
            gold=partial(_simple_gold, row, where=where),
            tags=dict(tags_field(row, where)),
        )
        before = [
            pictures.find(file.path, name, f"{where}, field history_images")
            for name in _texts(row.get("history_images", []), f"{where}, field history_images")
        ]
        mode = prompt_mode(row["mode"], f"{where}, field mode") if "mode" in row else shown_.mode
        done = _texts(row.get("history", []), f"{where}, field history")
        yield single_step(step, done, before, replace(shown_, mode=mode), pictures)


def _simple_space(row: Row, where: str) -> ActionSpace:
    if "actions" not in row:
        return GENERAL
    names = _texts(row["actions"], f"{where}, field actions")
    if unknown := sorted(set(names) - {kind.name for kind in GENERAL.kinds}):
        known = ", ".join(kind.name for kind in GENERAL.kinds)
        raise UserError(f"{where}, field actions: {unknown[0]} is no action; the actions are {known}")
    return ActionSpace("given", tuple(kind for kind in GENERAL.kinds if kind.name in names))


def _simple_gold(row: Row, record: ImageRecord, where: str) -> Gold:
    action, action_where = row["action"], f"{where}, field action"
    if not isinstance(action, Mapping):
        raise UserError(f'{action_where}: must be an object like {{"action": "wait"}}, not {shown(action)}')
    require_keys(action, ("action",), ACTION_KEYS, "simple action", action_where)
    name = text_field(action, "action", action_where)
    kind = GENERAL.kind(name)
    if kind is None:
        raise UserError(f"{action_where}: {shown(name)} is no action of the simple form")
    boxes: tuple[Any, ...] = ()
    if "box" in row:
        numbers = number_list(row["box"], 4, f"{where}, field box")
        boxes = (target_box(numbers, PIXEL_CORNERS, record, "simple", f"{where}, field box"),)
    point = None
    if "point" in action:
        point = place(kind, action["point"], Unit.ORIGINAL, record, f"{action_where}, point").action.point
    elif boxes:
        point = boxes[0].center
    return Gold(Action(name, point, action.get("text"), action.get("direction")), boxes)


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise UserError(f"{where}: must be a list of texts that are not empty, not {shown(value)}")
    return value


ANDROID_CONTROL_EPISODES = StepSchema(
    name="android-control",
    description="AndroidControl episodes with check_options: one JSON object per line; points and boxes in pixels",
    required=frozenset({"goal", "is_successful", "steps", "episode_id"}),
    read=episode_samples,
)
UI_R1_TEST_STEPS = StepSchema(
    name="ui-r1-test",
    description="UI-R1's file of AndroidControl steps, low level: a JSON list; points in pixels",
    required=frozenset({"image", "gt", "task"}),
    read=ui_r1_test_samples,
)
UI_R1_STEPS = StepSchema(
    name="ui-r1",
    description="UI-R1's training rows: a JSON list; bbox x1, y1, x2, y2 in pixels for clicks, else the bare action",
    required=frozenset({"img_filename", "instruction"}),
    optional=frozenset({"bbox", "action"}),
    read=ui_r1_samples,
)
GUI_R1_STEPS = StepSchema(
    name="gui-r1",
    description="GUI-R1's training rows: gt_bbox is a point or a box, in fractions of the picture",
    required=frozenset({"image", "instruction", "history", "task_type", "gt_action", "gt_bbox", "gt_input_text"}),
    optional=frozenset({"success_rate", "verify_bbox", "scale"}),
    read=gui_r1_samples,
    containers=("json", "parquet"),
)
GUI_R1_TEST_STEPS = StepSchema(
    name="gui-r1-test",
    description="GUI-R1's test rows, AndroidControl among them: gt_bbox is a point or a box, in pixels",
    required=frozenset({"image", "instruction", "group", "gt_action", "gt_bbox", "gt_input_text"}),
    optional=frozenset({"history"}),
    read=gui_r1_samples,
    containers=("json", "parquet"),
)
ODYSSEY_EPISODES = StepSchema(
    name="gui-odyssey",
    description="GUI-Odyssey: a folder of one JSON file per episode; coordinates in thousandths of the screen",
    required=frozenset({"episode_id", "device_info", "task_info", "step_length", "steps"}),
    read=odyssey_samples,
)
SIMPLE = StepSchema(
    name="simple",
    description='one JSON object per line: {"image": "a.png", "goal": "...", "action": {"action": "click", '
    '"point": [x, y]}}, pixels',
    required=frozenset({"image", "goal", "action"}),
    optional=frozenset({"instruction", "box", "actions", "history", "history_images", "id", "mode", "tags"}),
    read=_simple_samples,
)
SCHEMAS = (
    ANDROID_CONTROL_EPISODES,
    UI_R1_TEST_STEPS,
    UI_R1_STEPS,
    GUI_R1_STEPS,
    GUI_R1_TEST_STEPS,
    ODYSSEY_EPISODES,
    SIMPLE,
)

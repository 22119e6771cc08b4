"""ReasonSeg (github.com/dvlab-research/LISA): folders train, val and test of X.jpg with X.json, outlines of a target.

A row asks for the box around the target's outlines: those that are not labelled `ignore` or `flag`, as in LISA's
get_mask_from_json.
LISA-Grounding has boxes for the test pictures too, but how VLM-R1 derived them is not published.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord
from vlmrl.loading.boxes import PIXEL_CORNERS, target_box
from vlmrl.loading.fields import json_text, number_list, shown, text_field
from vlmrl.loading.pictures import PictureFinder
from vlmrl.types import PromptMode, Sample

from .schemas import locate

NAME = "reasonseg"
DESCRIPTION = (
    "ReasonSeg as published: folders val, test, ... of X.jpg with X.json; the box around the target's outlines"
)


def reasonseg_folders(path: Path, splits: Collection[str]) -> list[Path]:
    """`path` itself or the folders of `splits` in it, as far as they hold pictures with outlines."""
    return [folder for folder in (path, *(path / split for split in splits)) if _is_reasonseg(folder)]


def _is_reasonseg(folder: Path) -> bool:
    return any(picture.with_suffix(".json").is_file() for picture in folder.glob("*.jpg"))


def load_reasonseg(path: Path, splits: Collection[str], mode: PromptMode = PromptMode.DIRECT) -> list[Sample]:
    """One row per picture, asked with its first text as LISA's validation does; tagged with split and kind of text.

    Raises UserError naming file and field for anything unusable, and for a folder without pictures of these splits.
    """
    folders = reasonseg_folders(path, splits)
    if not folders:
        raise UserError(f"data {path} has no pictures X.jpg with X.json, nor folders {', '.join(splits)} of them")
    pictures = PictureFinder(())
    return [_sample(folder, picture, mode, pictures) for folder in folders for picture in sorted(folder.glob("*.jpg"))]


def _sample(folder: Path, picture: Path, mode: PromptMode, pictures: PictureFinder) -> Sample:
    file = picture.with_suffix(".json")
    about = json_text(_text(file), str(file))
    texts, is_sentence = (
        (about.get(key) for key in ("text", "is_sentence")) if isinstance(about, dict) else (None, None)
    )
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError(f"{file}, field text: must be a list of texts that are not empty, not {shown(texts)}")
    if type(is_sentence) is not bool:
        raise UserError(f"{file}, field is_sentence: must be true or false, not {shown(is_sentence)}")
    size = pictures.size(picture, str(picture))
    record = ImageRecord(0, size)
    corners = _target_corners(about.get("shapes"), f"{file}, field shapes")
    xs = [min(max(x, 0.0), size.width) for x, _ in corners]
    ys = [min(max(y, 0.0), size.height) for _, y in corners]
    around = [min(xs), min(ys), max(xs), max(ys)]
    text = texts[0].strip()
    return Sample(
        id=f"{folder.name}-{picture.stem}",
        images=(picture,),
        records=(record,),
        question=text if is_sentence else locate(text),
        gold=target_box(around, PIXEL_CORNERS, record, NAME, f"{file}, field shapes"),
        mode=mode,
        tags={"split": folder.name, "text": "sentence" if is_sentence else "phrase"},
    )


def _target_corners(shapes: Any, where: str) -> list[tuple[float, float]]:
    if not isinstance(shapes, list):
        raise UserError(f"{where}: must be a list of outlines, not {shown(shapes)}")
    corners: list[tuple[float, float]] = []
    for index, shape in enumerate(shapes):
        place = f"{where}[{index}]"
        if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
            raise UserError(f"{place}: must be an outline with label and points, not {shown(shape)}")
        label = text_field(shape, "label", place).lower()
        if label != "flag" and "ignore" not in label:
            corners += [(x, y) for x, y in (number_list(point, 2, place) for point in shape["points"])]
    if not corners:
        raise UserError(f"{where}: holds no target's outline; drop the picture")
    return corners


def _text(file: Path) -> str:
    """LISA's files are UTF-8 or, some of them, cp1252."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}; every picture needs its annotation") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")

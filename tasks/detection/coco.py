"""The COCO form: one JSON object with images, annotations and categories. ODinW's sets are folders of such files."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import Size
from vlmrl.loading.boxes import PIXEL_CORNER_AND_SIZE, SMALLEST_SIDE
from vlmrl.loading.fields import json_text, number_list, require_keys, shown, text_field
from vlmrl.loading.pictures import PictureFinder
from vlmrl.rewards.coco import Target
from vlmrl.types import PromptMode, Sample

from .figures import CocoTruth
from .rows import labelled_sample
from .schemas import Labelled, Labels, class_names

NAME = "coco"
DESCRIPTION = "COCO json: one object with images, annotations, categories; bbox is x, y, width, height in pixels"
ODINW_FILE = "annotations_without_background.json"
"""End of the name of ODinW's annotation files; the other ones have a background class."""
ODINW_VARIANTS = {"AerialMaritimeDrone": "large"}
"""Sets that are published in several cuts of the same pictures -> the folder of the one in ODinW-13."""


def is_coco(path: Path) -> bool:
    """Whether a JSON file is one object instead of a list of rows."""
    if path.suffix != ".json":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.read(256).lstrip().startswith("{")


def coco_samples(path: Path, mode: PromptMode, pictures: PictureFinder, prefix: str = "") -> list[Sample]:
    """One row per picture of a COCO file, in its order, asking for all of its categories.

    Crowd annotations become ignored regions. Annotations narrower than a pixel, of which COCO has some, can neither be
    written nor found and are left out. Raises UserError naming file and entry for anything else that does not fit.
    """
    data = json_text(_text(path), str(path))
    require_keys(data, {"images", "annotations", "categories"}, {"info", "licenses", "type"}, "COCO file", str(path))
    names = _categories(data["categories"], f"{path}, field categories")
    images = _entries(data["images"], ("id", "file_name"), f"{path}, field images")
    if not images:
        raise UserError(f"{path} holds no images: the data set is empty")
    by_image: dict[Any, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    annotations = _entries(data["annotations"], ("image_id", "category_id", "bbox"), f"{path}, field annotations")
    for number, annotation in enumerate(annotations):
        by_image[_key(annotation["image_id"], f"{path}, annotations[{number}], field image_id")].append(
            (number, annotation)
        )
    ids = [_key(image["id"], f"{path}, images[{number}], field id") for number, image in enumerate(images)]
    if unknown := set(by_image) - set(ids):
        number = by_image[next(iter(unknown))][0][0]
        raise UserError(f"{path}, annotations[{number}]: there is no image with the id {next(iter(unknown))!r}")
    categories = {name: id_ for id_, name in names.items()}
    samples = []
    for number, (image, id_) in enumerate(zip(images, ids, strict=True)):
        where = f"{path}, images[{number}]"
        name = text_field(image, "file_name", where)
        picture = pictures.find(path, name, f"{where}, field file_name")
        size = pictures.size(picture, where)
        _require_size(image, size, where)
        samples.append(
            labelled_sample(
                id_=f"{prefix or path.stem}-{id_}",
                picture=picture,
                size=size,
                labels=_labels(by_image[id_], names, path),
                form=PIXEL_CORNER_AND_SIZE,
                schema=NAME,
                mode=mode,
                where=where,
                tags={"set": prefix} if prefix else {},
                coco=CocoTruth(id_, categories, _targets(by_image[id_], path)),
            )
        )
    return samples


def odinw_files(root: Path) -> dict[str, Path]:
    """Annotation file of the test split of every set in a folder of ODinW sets, by the set's name.

    Raises UserError for a folder without any, and for a set with several.
    """
    if not root.is_dir():
        raise UserError(f"data {root} must be the folder that holds one folder per ODinW set")
    found: dict[str, Path] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = [file for file in sorted(folder.rglob(f"*{ODINW_FILE}")) if _split(file) == "test"]
        variant = ODINW_VARIANTS.get(folder.name)
        if len(files) > 1 and variant is not None:
            files = [file for file in files if variant in file.relative_to(folder).parts]
        if len(files) > 1:
            raise UserError(f"data {folder} holds several test files: {', '.join(map(str, files))}; keep one of them")
        if files:
            found[folder.name] = files[0]
    if not found:
        raise UserError(
            f"data {root} holds no folder with test/{ODINW_FILE} or test_{ODINW_FILE}; name the folder that holds one "
            "folder per ODinW set"
        )
    return found


def _split(file: Path) -> str:
    """Split of an ODinW file: before its name (test_annotations...) or its folder's name (test/annotations...)."""
    before = file.name.removesuffix(ODINW_FILE)
    return before.removesuffix("_") if before else file.parent.name


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _entries(value: Any, required: tuple[str, ...], where: str) -> list[Mapping[str, Any]]:
    """Objects that have at least the required keys; COCO's releases differ in the others."""
    if not isinstance(value, list):
        raise UserError(f"{where}: must be a list, not {shown(value)}")
    for number, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise UserError(f"{where}[{number}]: must be an object, not {shown(entry)}")
        if missing := [key for key in required if key not in entry]:
            raise UserError(f"{where}[{number}]: field {missing[0]} is missing; a COCO file needs it")
    return value


def _key(value: Any, where: str) -> int | str:
    if type(value) not in (int, str):
        raise UserError(f"{where}: must be a number or a text, not {shown(value)}")
    return value


def _categories(value: Any, where: str) -> dict[int, str]:
    entries = _entries(value, ("id", "name"), where)
    names = class_names([entry["name"] for entry in entries], where)
    if odd := [entry["id"] for entry in entries if type(entry["id"]) is not int]:
        raise UserError(f"{where}: a category's id must be a whole number, not {shown(odd[0])}")
    return {entry["id"]: name for entry, name in zip(entries, names, strict=True)}


def _labels(annotations: list[tuple[int, Mapping[str, Any]]], names: Mapping[int, str], path: Path) -> Labels:
    objects: list[Labelled] = []
    ignored: list[Labelled] = []
    for number, annotation in annotations:
        where = f"{path}, annotations[{number}]"
        category = annotation["category_id"]
        name = names.get(category) if type(category) is int else None
        if name is None:
            raise UserError(f"{where}, field category_id: there is no category {shown(category)}")
        numbers = number_list(annotation["bbox"], 4, f"{where}, field bbox")
        if annotation.get("iscrowd", 0) not in (0, 1):
            raise UserError(f"{where}, field iscrowd: must be 0 or 1, not {shown(annotation['iscrowd'])}")
        if 0 <= min(numbers[2:]) < SMALLEST_SIDE:
            continue
        (ignored if annotation.get("iscrowd", 0) else objects).append(Labelled(name, numbers, f"{where}, field bbox"))
    return Labels(tuple(names.values()), tuple(objects), tuple(ignored))


def _targets(annotations: list[tuple[int, Mapping[str, Any]]], path: Path) -> tuple[Target, ...]:
    """The same annotations as pycocotools reads them."""
    targets = []
    for number, annotation in annotations:
        x, y, width, height = number_list(annotation["bbox"], 4, f"{path}, annotations[{number}], field bbox")
        (area,) = number_list([annotation.get("area", width * height)], 1, f"{path}, annotations[{number}], field area")
        crowd = bool(annotation.get("iscrowd", 0))
        targets.append(Target(annotation["category_id"], (x, y, width, height), area, crowd))
    return tuple(targets)


def _require_size(image: Mapping[str, Any], size: Size, where: str) -> None:
    stated = (image.get("width", size.width), image.get("height", size.height))
    if stated != (size.width, size.height):
        raise UserError(
            f"{where}: says {stated[0]}x{stated[1]} but the picture is {size}; boxes of one size do not fit a picture "
            "of another: use the picture that the boxes were drawn on"
        )

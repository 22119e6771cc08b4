"""OSWorld-G (github.com/xlang-ai/OSWorld-G): targets are boxes, polygons, or things that are not there.

Layout: benchmark/OSWorld-G.json and benchmark/OSWorld-G_refined.json (the same targets, asked without knowledge of the
software), benchmark/images/, and benchmark/classification_result.json with the paper's categories of each row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.evaluation.statistics import Estimate, mean_estimate
from vlmrl.geometry import Box, ImageRecord, Unit
from vlmrl.loading.boxes import PIXEL_CORNER_AND_SIZE, target_box
from vlmrl.loading.fields import json_text, number_list, shown
from vlmrl.task import ScoredRow
from vlmrl.types import Refusal, Row, Sample

from .targets import Click, Polygon, hits

ORIGINAL, REFINED = "OSWorld-G.json", "OSWorld-G_refined.json"
CATEGORIES_FILE = "classification_result.json"
BOX_TYPES = ("bbox", "polygon", "refusal")


def target(row: Row, record: ImageRecord, where: str) -> tuple[Box | Refusal, Mapping[str, Any]]:
    """Gold and `extra` of a row: every row of the set may be refused, a polygon's gold is the box around it."""
    kind, place = row["box_type"], f"{where}, field box_coordinates"
    numbers = row["box_coordinates"]
    if kind == "refusal":
        return Refusal(), {"refusable": True}
    if kind == "bbox":
        box = target_box(number_list(numbers, 4, place), PIXEL_CORNER_AND_SIZE, record, "osworld-g", place)
        return box, {"refusable": True}
    if kind != "polygon":
        raise UserError(f"{where}, field box_type: must be {', '.join(BOX_TYPES)}, not {shown(kind)}")
    polygon = _polygon(numbers, record, place)
    return polygon.bounds, {"refusable": True, "polygon": polygon}


def _polygon(numbers: Any, record: ImageRecord, where: str) -> Polygon:
    if not isinstance(numbers, list) or len(numbers) < 6 or len(numbers) % 2:
        raise UserError(f"{where}: a polygon is x1, y1, x2, y2, ... of three corners or more, not {shown(numbers)}")
    flat = number_list(numbers, len(numbers), where)
    polygon = Polygon(tuple(zip(flat[::2], flat[1::2], strict=True)), record.frame(Unit.ORIGINAL))
    if not polygon.bounds.area or not polygon.contains(polygon.inner_point) or not polygon.inner_point.in_image:
        raise UserError(f"{where}: the polygon {shown(numbers)} has no area on its picture of {record.original}")
    return polygon


def annotation_file(path: Path, name: str) -> Path:
    """The file `name` in the folder `path` or in its benchmark/; else `path` itself, as for a parquet file.

    Raises UserError if `path` is the other of the two files.
    """
    if path.name in (ORIGINAL, REFINED) and path.name != name:
        raise UserError(f"data {path}: this benchmark reads {name}; the other file is a benchmark of its own")
    return next((file for file in (path / name, path / "benchmark" / name) if file.is_file()), path)


def with_categories(samples: Sequence[Sample], folder: Path) -> list[Sample]:
    """The rows with the paper's categories in `extra`, where the file that gives them lies beside the annotations.

    It holds {"classified": {category: [ids, or objects with an id]}}; a row may be in several categories.
    """
    file = folder / CATEGORIES_FILE
    if not file.is_file():
        return list(samples)
    about = json_text(file.read_text(encoding="utf-8"), str(file))
    classified = about.get("classified") if isinstance(about, dict) else None
    if not isinstance(classified, dict) or not all(isinstance(ids, list) for ids in classified.values()):
        raise UserError(f'{file}: must be {{"classified": {{category: [ids]}}}}')
    categories: dict[str, list[str]] = {}
    for category, entries in classified.items():
        for entry in entries:
            categories.setdefault(str(entry.get("id") if isinstance(entry, dict) else entry), []).append(category)
    return [replace(row, extra={**row.extra, "categories": tuple(categories.get(row.id, ()))}) for row in samples]


def figures(rows: Sequence[ScoredRow]) -> dict[str, Estimate]:
    """Accuracy over the rows that have a target, which several papers print instead of all, and per category."""
    scores = [(sample, float(isinstance(answer, Click) and hits(answer, sample))) for sample, answer in rows]
    parts = {"hit_without_refusals": [score for sample, score in scores if not isinstance(sample.gold, Refusal)]}
    for sample, score in scores:
        for category in sample.extra.get("categories", ()):
            parts.setdefault(f"hit_{category}", []).append(score)
    return {name: mean_estimate(values) for name, values in sorted(parts.items()) if values}

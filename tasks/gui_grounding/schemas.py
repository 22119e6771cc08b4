"""The published forms of GUI grounding data, told apart by their complete set of keys.

The same field name holds different things: ScreenSpot's `bbox` is x, y, width, height, ScreenSpot-Pro's is x1, y1, x2,
y2, and the parquet mirrors hold fractions. Which one it is follows from the schema, never from the size of the numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vlmrl.geometry import Box, ImageRecord
from vlmrl.loading.boxes import FRACTION_CORNERS, PIXEL_CORNER_AND_SIZE, PIXEL_CORNERS, BoxForm
from vlmrl.loading.schemas import Schema
from vlmrl.types import Refusal, Row

from . import osworld_g


@dataclass(frozen=True, kw_only=True)
class GuiSchema(Schema):
    """A published form of GUI grounding rows."""

    target: Callable[[Row, ImageRecord, str], tuple[Box | Refusal, Mapping[str, Any]]] | None = None
    """Reads gold and `extra` of a row, given its picture and its place; a box in `bbox` if None."""
    box: BoxForm = PIXEL_CORNERS
    """What `bbox` holds."""
    picture: str
    """Key of the picture: a file name in JSON, an encoded picture in parquet."""
    kind: str | None = None
    """Key that says whether the target is text or an icon."""
    tags: Callable[[Row], Mapping[str, str]] | None = None
    """What a row's metric is broken down by; the row's own field `tags` if None."""


LABEL_KEYS = frozenset({"data_type", "data_source", "ui_type", "group", "platform"})
"""Keys that hold a word wherever they occur."""
PLATFORM_OF_PREFIX = {"mobile": "mobile", "pc": "desktop", "web": "web"}
PLATFORM_OF_SOURCE = {
    "ios": "mobile",
    "android": "mobile",
    "mobile": "mobile",
    "windows": "desktop",
    "macos": "desktop",
    "linux": "desktop",
    "desktop": "desktop",
}


def _screenspot_tags(row: Row) -> Mapping[str, str]:
    """Platform and kind of a ScreenSpot row.

    The official cells follow the file (mobile, desktop, web), and so do the pictures' names (mobile_, pc_, web_).
    `data_source` alone would put 80 rows of v2 in the wrong cell: 52 mobile and 28 desktop rows say "shop". It decides
    only where a picture's name does not tell; sources that are no operating system are web sites.
    """
    name = row.get("img_filename") or row.get("file_name") or (_picture_path(row.get("image")) or "")
    prefix = str(name).rpartition("/")[2].partition("_")[0]
    platform = PLATFORM_OF_PREFIX.get(prefix) or PLATFORM_OF_SOURCE.get(str(row["data_source"]), "web")
    return {"platform": platform, "kind": str(row["data_type"])}


def _picture_path(image: object) -> str | None:
    return image.get("path") if isinstance(image, Mapping) else None


def _release_tags(row: Row) -> Mapping[str, str]:
    return {"platform": str(row["group"]), "kind": str(row["ui_type"])}


def _pro_tags(row: Row) -> Mapping[str, str]:
    return {"group": str(row.get("group", "ungrouped")), "kind": str(row["ui_type"])}


SCREENSPOT = GuiSchema(
    name="screenspot",
    description="ScreenSpot and ScreenSpot-v2 as published: a JSON list; bbox x, y, width, height in pixels",
    required=frozenset({"img_filename", "bbox", "instruction", "data_type", "data_source"}),
    box=PIXEL_CORNER_AND_SIZE,
    picture="img_filename",
    kind="data_type",
    tags=_screenspot_tags,
)
SCREENSPOT_V2_SIZED = GuiSchema(
    name="screenspot-v2-sized",
    description="the re-release of ScreenSpot-v2 with img_size: a JSON list; bbox x1, y1, x2, y2 in pixels",
    required=frozenset({"img_filename", "bbox", "instruction", "img_size", "platform", "ui_type", "group"}),
    picture="img_filename",
    kind="ui_type",
    tags=_release_tags,
)
SCREENSPOT_PRO = GuiSchema(
    name="screenspot-pro",
    description="ScreenSpot-Pro as published: JSON lists; bbox x1, y1, x2, y2 in pixels",
    required=SCREENSPOT_V2_SIZED.required | {"id", "application"},
    optional=frozenset({"instruction_cn"}),
    picture="img_filename",
    kind="ui_type",
    tags=_pro_tags,
)
SCREENSPOT_PARQUET = GuiSchema(
    name="screenspot-parquet",
    description="rootsautomation/ScreenSpot and HongxinLi/ScreenSpot_v2: parquet; bbox x1, y1, x2, y2 from 0 to 1",
    containers=("parquet",),
    required=frozenset({"image", "bbox", "instruction", "data_type", "data_source"}),
    optional=frozenset({"file_name", "img_filename", "image_width", "image_height"}),
    box=FRACTION_CORNERS,
    column_types={"bbox": frozenset({"list<double>", "list<float>"})},
    picture="image",
    kind="data_type",
    tags=_screenspot_tags,
)
SCREENSPOT_PRO_PARQUET = GuiSchema(
    name="screenspot-pro-parquet",
    description="TIGER-Lab/ScreenSpot-Pro: parquet; bbox x1, y1, x2, y2 in pixels, as a list or as JSON text",
    containers=("parquet",),
    required=frozenset({"image", "bbox", "instruction", "img_size", "ui_type"}),
    optional=frozenset({"id", "img_filename", "instruction_cn", "application", "platform", "group"}),
    column_types={"bbox": frozenset({"list<int64>", "list<int32>", "list<double>", "list<float>", "string"})},
    picture="image",
    kind="ui_type",
    tags=_pro_tags,
)
OSWORLD_G = GuiSchema(
    name="osworld-g",
    description="OSWorld-G: a JSON list; x, y, width, height or a polygon's corners in pixels, or a refusal",
    required=frozenset(
        {"id", "image_path", "image_size", "instruction", "box_type", "box_coordinates", "GUI_types"},
    ),
    picture="image_path",
    target=osworld_g.target,
    tags=lambda row: {"target": str(row["box_type"])},
)
OSWORLD_G_PARQUET = GuiSchema(
    name="osworld-g-parquet",
    description="MMInstruction/OSWorld-G: parquet, the same targets",
    containers=("parquet",),
    required=frozenset({"image", "image_size", "instruction", "box_type", "box_coordinates"}),
    optional=frozenset({"id", "GUI_types"}),
    picture="image",
    target=osworld_g.target,
    tags=lambda row: {"target": str(row["box_type"])},
)
SIMPLE = GuiSchema(
    name="simple",
    description='one JSON object per line: {"image": "a.png", "instruction": "...", "bbox": [x1, y1, x2, y2]}, pixels',
    required=frozenset({"image", "instruction", "bbox"}),
    optional=frozenset({"id", "mode", "tags", "reasoning"}),
    picture="image",
)
SCHEMAS = (
    SCREENSPOT,
    SCREENSPOT_V2_SIZED,
    SCREENSPOT_PRO,
    SCREENSPOT_PARQUET,
    SCREENSPOT_PRO_PARQUET,
    OSWORLD_G,
    OSWORLD_G_PARQUET,
    SIMPLE,
)

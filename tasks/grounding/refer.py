"""RefCOCO, RefCOCO+ and RefCOCOg as their authors publish them: refs(X).p, a pickle, with COCO's instances.json.

Layout (github.com/lichengunc/refer): ROOT/refcoco/refs(unc).p and ROOT/refcoco/instances.json, with the pictures in
ROOT/images/mscoco/images/train2014. Boxes are x, y, width, height in pixels. One row per sentence, as papers count.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord
from vlmrl.loading.boxes import PIXEL_CORNER_AND_SIZE, target_box
from vlmrl.loading.fields import number_list, require_keys, shown, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pickles import read_plain_pickle
from vlmrl.loading.pictures import PictureFinder
from vlmrl.types import PromptMode, Row, Sample

from .loaders import PICTURE_FOLDERS
from .schemas import locate

NAME = "refer-pickle"
DESCRIPTION = "RefCOCO, RefCOCO+, RefCOCOg as published: refs(X).p with instances.json beside it; x, y, width, height"
REF_KEYS = frozenset(
    {"ref_id", "ann_id", "image_id", "category_id", "split", "file_name", "sent_ids", "sentences"},
)


def refs_file(path: Path) -> Path | None:
    """The refs(X).p that `path` is or holds, if any. Raises UserError for a folder with several partitions."""
    if path.suffix == ".p":
        return path
    found = sorted(path.glob("refs(*).p"))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise UserError(f"data {path} holds several partitions ({names}); name the file to read")
    return found[0] if found else None


def load_refer(path: Path, splits: Collection[str], mode: PromptMode = PromptMode.DIRECT) -> list[Sample]:
    """The sentences of the refs in `splits`. Raises UserError naming file, ref and field for anything unusable."""
    refs = read_plain_pickle(path)
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise UserError(f"{path}: expected a list of refs, each a dictionary; is this a refs(X).p of refer?")
    instances = _Instances(path.parent / "instances.json")
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples: list[Sample] = []
    for index, ref in enumerate(refs):
        where = f"{path} ref {index}"
        require_keys(ref, REF_KEYS, (), NAME, where)
        if ref["split"] in splits:
            samples += _sentences(ref, instances, pictures, mode, where)
    if not samples:
        found = ", ".join(sorted({str(ref["split"]) for ref in refs}))
        raise UserError(f"{path} has no refs in the split {' or '.join(splits)}; task.options.split can be {found}")
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


class _Instances:
    """The pictures and boxes of an instances.json."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}; it belongs beside the refs file") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not JSON: {error}") from error
        self.images = self._by_id(content, "images")
        self.annotations = self._by_id(content, "annotations")

    def _by_id(self, content: Any, key: str) -> dict[Any, Mapping[str, Any]]:
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) and "id" in entry for entry in entries):
            raise UserError(f"{self.path}: must have the list {key}, of objects with an id each")
        return {entry["id"]: entry for entry in entries}

    def find(self, kind: str, id_: Any, where: str) -> Mapping[str, Any]:
        entries = self.images if kind == "image" else self.annotations
        if id_ not in entries:
            raise UserError(f"{where}: {kind} {shown(id_)} is not in {self.path}; the two files do not belong together")
        return entries[id_]


def _sentences(ref: Row, instances: _Instances, pictures: PictureFinder, mode: PromptMode, where: str) -> list[Sample]:
    annotation = instances.find("annotation", ref["ann_id"], where)
    image = instances.find("image", ref["image_id"], where)
    if annotation.get("image_id") != ref["image_id"]:
        raise UserError(
            f"{where}: its annotation {ref['ann_id']} is on another picture; the files do not belong together"
        )
    image_where = f"{instances.path} image {ref['image_id']}"
    # The name in the ref itself ends in the annotation's number and is no file.
    source = pictures.find(instances.path, text_field(image, "file_name", image_where), image_where)
    size = pictures.size(source, image_where)
    if (image.get("width"), image.get("height")) != (size.width, size.height):
        raise UserError(
            f"{image_where}: says {image.get('width')}x{image.get('height')} but {source} is {size}; boxes of one size "
            "do not fit a picture of another: use COCO's train2014 pictures as they are"
        )
    record = ImageRecord(0, size)
    box_where = f"{instances.path} annotation {ref['ann_id']}, field bbox"
    box = target_box(number_list(annotation.get("bbox"), 4, box_where), PIXEL_CORNER_AND_SIZE, record, NAME, box_where)
    sentences = ref["sentences"]
    if not isinstance(sentences, list) or not all(
        isinstance(sentence, dict) and type(sentence.get("sent_id")) is int for sentence in sentences
    ):
        raise UserError(
            f"{where}, field sentences: must be a list of objects with sent_id and sent, not {shown(sentences)}"
        )
    return [
        Sample(
            id=f"{ref['split']}-{sentence['sent_id']}",
            images=(source,),
            records=(record,),
            question=locate(text_field(sentence, "sent", f"{where}, sentence {sentence['sent_id']}")),
            gold=box,
            mode=mode,
            tags={"split": ref["split"]},
        )
        for sentence in sentences
    ]

"""Altered rows of an audit: the same questions about pictures that do not answer them."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmrl.evaluation.audit import AlteredRows
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.types import Sample

RECORD = ImageRecord(0, Size(40, 20))
ROW = Sample("r", (), (RECORD,), "?", Box(0, 0, 10, 10, RECORD.frame(Unit.ORIGINAL)))


@given(st.lists(st.integers(0, 5), min_size=2, max_size=40))
def test_no_row_is_shown_its_own_file_unless_most_rows_share_it(files: list[int]) -> None:
    rows = [replace(ROW, id=str(i), images=(Path(f"{file}.png"),)) for i, file in enumerate(files)]
    donors = AlteredRows("shuffled", rows)._donor
    assert sorted(donors) == sorted(donors.values()) == list(range(len(files)))
    if max(map(files.count, files)) <= len(files) / 2:
        assert all(files[place] != files[donor] for place, donor in donors.items())


@pytest.mark.parametrize("sight", ["blind", "shuffled"])
def test_altered_pictures_have_the_rows_own_size(sight: str) -> None:
    red, blue = Image.new("RGB", (40, 20), "red"), Image.new("RGB", (8, 90), "blue")
    other = replace(ROW, id="o", records=(ImageRecord(0, Size(8, 90)),), images=(blue,))
    first, second = AlteredRows(sight, [replace(ROW, images=(red,)), other])  # type: ignore[arg-type]
    assert (first.images[0].size, second.images[0].size) == ((40, 20), (8, 90))
    shown = [picture.images[0].getpixel((0, 0)) for picture in (first, second)]
    assert shown == ([(128, 128, 128)] * 2 if sight == "blind" else [(0, 0, 255), (255, 0, 0)])
    assert (first.question, first.gold, first.records) == (ROW.question, ROW.gold, ROW.records)

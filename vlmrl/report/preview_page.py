"""The page of `vlmrl preview`: each row's pictures as resized for the model, its prompt, and its gold answer."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from PIL import Image

from vlmrl.media.kept import MediaFolder
from vlmrl.preview import Preview, PreviewRow
from vlmrl.progress import tracked
from vlmrl.records import group_record
from vlmrl.report.charts import ChartStudio
from vlmrl.report.document import card_section, definitions, document, write_document
from vlmrl.report.filters import Button, Cards, kinds_attribute
from vlmrl.report.groups import MAX_HEIGHT, facts
from vlmrl.report.illustration import Illustrator
from vlmrl.report.logged import Log, LoggedGroup, logged_group
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import count, fixed, percent
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.rollouts import completion, explanations, outcome, parts, written
from vlmrl.report.sampling import Limits, cut

MODEL_SIZE = (2048, 2048)
"""Pictures are embedded in the size the model sees up to this one, so that zooming in shows what it can read."""
BUTTONS = (
    Button("All"),
    Button("Problems", show="problems"),
    Button("Smallest target", sort="target:1"),
    Button("Longest prompt", sort="tokens:-1"),
    Button("Easiest without looking", sort="blind:-1"),
)


def write_preview(preview: Preview, file: Path) -> Path:
    """Writes the page and returns its path. Raises UserError if the file cannot be written."""
    library = PictureLibrary(MODEL_SIZE)
    with tempfile.TemporaryDirectory() as folder, closing(ChartStudio(library)) as studio:
        media = MediaFolder(Path(folder))
        illustrator = Illustrator(Log(media.path, media.path), library, studio)
        rows = tracked(preview.rows, "drawing rows", len(preview.rows))
        groups = [_as_seen(row, media, library) for row in rows]
        illustrator.draw_charts(groups, Limits().charts)
        cards = [_card(row, group, illustrator) for row, group in zip(preview.rows, groups, strict=True)]
    pictures = frozenset(name for group in groups for name in illustrator.names(group, group.rollouts))
    rule = (
        f"{count(len(cards), 'row')} spread evenly over {count(preview.total, 'row')}. Pictures have the size that the "
        "model sees (zoom in to see what it can read), or their own where its processor cuts them into tiles. Green is "
        "gold as it stands in the data; the dashed box or the dot is the gold answer after it was written in the "
        "model's coordinates and parsed back: the two must lie on each other, and on the right thing."
    )
    page = document(
        f"{preview.task} preview · vlmrl",
        _headline(preview),
        *(element("p", cut(problem), class_="notice") for problem in preview.unusable),
        card_section("Rows", "rows", Cards(cards, pictures, rule, groups), BUTTONS, "No row can be shown."),
        library.definitions(pictures),
    )
    return write_document(page, file)


def _headline(preview: Preview) -> Html:
    found = [
        ("Model", preview.model),
        ("Writes coordinates in", preview.coordinates.value),
        ("Data", preview.data),
        ("Rows", f"{preview.total:,}"),
        ("Rows with problems", str(preview.faulty)),
    ]
    return element(
        "header",
        element("p", "vlmrl preview", class_="eyebrow"),
        element("h1", preview.task),
        definitions(found, "facts"),
        class_="hero",
    )


def _as_seen(row: PreviewRow, media: MediaFolder, library: PictureLibrary) -> LoggedGroup:
    """The row in the form the page draws, its pictures in the sizes the model sees where it sees them whole."""
    sample = row.group.sample
    group = logged_group(group_record(0, row.group, media.keep(sample)))
    names = []
    for name, record in zip(group.pictures, group.records, strict=True):
        if name is not None and record.model is not None:
            with Image.open(media.path / f"{name}.png") as picture:
                size = (record.model.width, record.model.height)
                name = f"{name}-{record.model}"
                library.add_drawn(name, picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))
        names.append(name)
    return replace(group, pictures=tuple(names))


def _card(row: PreviewRow, group: LoggedGroup, illustrator: Illustrator) -> Html:
    (gold,) = group.rollouts
    tokens = len(row.group.prompt.token_ids_P)
    blind = row.blind[1] if row.blind else 0.0
    return element(
        "article",
        element(
            "header",
            element("h3", cut(group.question)),
            element("p", " · ".join([*facts(group), f"gold {cut(written(group.gold))}"]), class_="note"),
            definitions(_difficulty(row, tokens), "facts"),
            *(element("p", cut(problem), class_="notice") for problem in row.problems),
        ),
        element(
            "div",
            illustrator.drawings(group, group.rollouts, numbered=False, max_height=MAX_HEIGHT),
            element(
                "div",
                element("h4", "Prompt"),
                element("pre", cut(group.prompt)),
                element("h4", f"Gold answer, {count(gold.tokens, 'token')}"),
                completion(gold, group.mode),
                element("p", "parsed back: ", outcome(gold, group), class_="note"),
                parts(gold, [name for name, score in gold.scores.items() if score.value is not None]),
                *explanations(gold, [name for name, score in gold.scores.items() if score.error]),
                class_="scroll",
            ),
            class_="body",
        ),
        class_="card problems" if row.problems else "card",
        tabindex=-1,
        data_kinds=kinds_attribute(group),
        data_target=f"{1.0 if row.target is None else row.target:.6f}",
        data_tokens=tokens,
        data_blind=f"{blind:.6f}",
    )


def _difficulty(row: PreviewRow, tokens: int) -> Sequence[tuple[str, str]]:
    """What makes the row hard or easy, in words."""
    found = [("Prompt with media", count(tokens, "token"))]
    if row.target is not None:
        found.append(("Smallest target", f"{percent(row.target)}{f', {row.model_target}' if row.model_target else ''}"))
    if row.rounding is not None:
        found.append(("Left after rounding", f"IoU {fixed(row.rounding, 3)}"))
    found.append(("Gold earns", fixed(row.group.rollouts[0].reward)))
    if row.blind is not None:
        name, reward = row.blind
        found.append(("Without looking", f"{fixed(reward)}: {name}"))
    return found

"""Every card fits the schema, names a form its task reads and has sample rows of, and shows commands that exist."""

import shlex
import tomllib
from pathlib import Path

import pytest

from vlmrl import data_cards
from vlmrl.cli.main import _parser, main
from vlmrl.cli.settings import refuse_unknown_flags, settings_of
from vlmrl.config import Config
from vlmrl.data_cards import DataCard, Form, find_card, find_cards, read_card
from vlmrl.errors import UserError
from vlmrl.evaluation.run import find_benchmark
from vlmrl.paths import data_cards_dir, tasks_dir
from vlmrl.registry import TaskFolder
from vlmrl.yaml_dialect import dump

CARDS = find_cards()
SHIPPED = {path.parent.name: TaskFolder(path.parent.name, path.parent) for path in tasks_dir().glob("*/task.py")}
FORMS = [(name, form) for name, card in CARDS.items() for form in card.forms]
each_form = pytest.mark.parametrize(("name", "form"), FORMS, ids=[f"{name}-{form.format}" for name, form in FORMS])


def test_every_data_set_of_the_tasks_has_a_card() -> None:
    assert set(CARDS) >= {
        "screenspot", "screenspot-v2", "screenspot-pro", "osworld-g", "refcoco", "refcoco-plus", "refcocog",
        "lisa-grounding", "coco", "odinw-13", "android-control", "gui-odyssey", "gui-r1-3k", "ui-r1", "charades-sta",
        "activitynet-captions", "qvhighlights", "time-r1", "video-r1-260k", "chartmimic", "plot2code", "vlm-r1-rec",
        "vlm-r1-ovd", "mig-bench",
    }  # fmt: skip
    assert {task for card in CARDS.values() for task in card.tasks} == set(SHIPPED)


@each_form
def test_the_task_reads_the_form_and_has_sample_rows_of_it(name: str, form: Form) -> None:
    folder = SHIPPED[form.task]
    assert form.format in folder.task_class.formats
    samples = [place.name for place in (folder.path / "samples").iterdir()]
    names = form.format, form.format.removesuffix("-pickle")  # refer's samples are its whole layout
    assert any(sample in names or sample.startswith(f"{form.format}-") for sample in samples)


@each_form
def test_the_command_is_one_that_reads_the_form(
    name: str, form: Form, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(form.use)
    assert program == "vlmrl"
    args, rest = _parser().parse_known_args(words)
    refuse_unknown_flags(args, rest)
    config: Config = settings_of(args, rest)
    benchmark = config.eval.benchmark
    assert (find_benchmark(benchmark)[0] if benchmark else config.task.name) == form.task
    assert config.data.train or config.data.held_out


def test_cards_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in CARDS)
    for name, card in CARDS.items():
        assert main(["data", "show", name]) == 0
        shown = capsys.readouterr().out
        assert all(form.use in shown and form.frame.text in shown for form in card.forms)
        unverified = [fact for fact in (card.licence, *card.splits, *card.notes) if not fact.verified]
        assert shown.count("UNVERIFIED") == len(unverified) + sum(not form.frame.verified for form in card.forms)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("screenspt-v2", "screenspot-v2"), ("RefCOCO+", "refcoco-plus"), ("charades", "charades-sta")],
)
def test_a_misspelt_name_gets_suggestions(written: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", written]) == 2
    assert f"did you mean {meant}" in capsys.readouterr().err


def test_a_name_like_no_other_is_refused() -> None:
    with pytest.raises(UserError, match=r"no data card 'zzzz': `vlmrl data list`"):
        find_card("zzzz")


SOUND = {
    "title": "T",
    "about": "a",
    "origin": ["here"],
    "licence": {"text": "MIT", "source": "its page"},
    "splits": [{"name": "test", "rows": 3, "source": "counted"}],
    "forms": [
        {
            "task": "gui_grounding",
            "format": "simple",
            "files": "rows.jsonl",
            "frame": {"text": "pixels", "source": "its page"},
            "use": "vlmrl train --data rows.jsonl",
        }
    ],
}


def test_a_sound_card_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(dump(SOUND))
    card = read_card(tmp_path / "t.yaml")
    assert isinstance(card, DataCard)
    assert card.splits[0].rows == 3
    assert card.notes == ()
    assert card.licence.verified


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": ""}, "field title: must be str"),
        ({"title": 3}, "field title: must be str"),
        ({"origin": []}, "field origin: must be a list that is not empty"),
        ({"origin": "here"}, "field origin: must be a list"),
        ({"licence": "MIT"}, "field licence: must have the fields text, source, verified"),
        ({"licence": {"text": "MIT"}}, "field licence: field source is missing"),
        ({"licence": {"text": "MIT", "source": "s", "sorce": "s"}}, "unknown field sorce"),
        ({"splits": [{"name": "a", "rows": "many", "source": "s"}]}, r"splits\[0\], field rows: must be int or null"),
        ({"splits": [{"name": "a", "rows": True, "source": "s"}]}, r"splits\[0\], field rows: must be int or null"),
        ({"size": 3}, "unknown field size"),
    ],
)
def test_a_card_that_does_not_fit_names_file_and_field(tmp_path: Path, change: dict[str, object], message: str) -> None:
    (tmp_path / "t.yaml").write_text(dump({**SOUND, **change}))
    with pytest.raises(UserError, match=rf"t\.yaml.*{message}"):
        read_card(tmp_path / "t.yaml")


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.yaml").write_text("title: [\n")
    monkeypatch.setattr(data_cards, "data_cards_dir", lambda: tmp_path)
    with pytest.raises(UserError, match=r"t\.yaml is not YAML"):
        find_cards()


def test_cards_are_shipped_in_the_wheel() -> None:
    root = Path(__file__).parents[1]
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert (
        root / {inside: outside for outside, inside in wheel["force-include"].items()}["vlmrl/_data_cards"]
        == data_cards_dir()
    )

"""The settings resolver, on a small schema of its own; `Config` itself is covered by its defaults and aliases."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.config import Config
from vlmrl.errors import ConfigError, UserError
from vlmrl.paths import configs_dir
from vlmrl.resolve import build, resolve, to_dict, to_yaml
from vlmrl.settings_help import ALIASES, help_text, setting_names


@dataclass
class Inner:
    rank: int = 0
    """How many."""
    alpha: float = 32.0


@dataclass
class Optim:
    lr: float = 1e-6
    """Peak learning rate."""
    schedule: Literal["constant", "cosine"] = "constant"
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None
    """Clip width;
    null keeps the preset's."""
    fused: bool = False
    inner: Inner = field(default_factory=Inner)


@dataclass
class Task:
    name: str = "clicking"
    options: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    data: str | None = None
    scale: Literal["group_std", "none"] | None = None


@dataclass
class Settings:
    task: Task = field(default_factory=Task)
    optim: Optim = field(default_factory=Optim)


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def words(*texts: str) -> Settings:
    return resolve(Settings, words=texts)


def complaint(*texts: str) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(Settings, words=texts)
    return str(caught.value)


def file_complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(Settings, file=write(folder, text))
    return str(caught.value)


def test_defaults_when_nothing_is_given() -> None:
    assert resolve(Settings) == Settings()


def test_flags_beat_words_and_words_beat_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "optim: {lr: 1, fused: true, inner: {rank: 1}}")
    flags = [("optim.inner.rank", "3", "--rank")]
    settings = resolve(Settings, file=file, words=["optim.lr=2", "optim.inner.rank=2"], flags=flags)
    assert (settings.optim.lr, settings.optim.fused, settings.optim.inner.rank) == (2.0, True, 3)


def test_sources_do_not_share_defaults() -> None:
    words("task.options.size=3")
    assert resolve(Settings).task.options == {}


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-5", "0.00001", ".00001", "1.e-5"])
def test_every_spelling_of_a_number_is_a_number(tmp_path: Path, text: str) -> None:
    assert words(f"optim.lr={text}").optim.lr == 1e-5
    assert resolve(Settings, file=write(tmp_path, f"optim:\n  lr: {text}\n")).optim.lr == 1e-5


def test_whole_numbers_are_accepted_for_numbers() -> None:
    lr = words("optim.lr=1").optim.lr
    assert (lr, type(lr)) == (1.0, float)


@pytest.mark.parametrize("text", ["1.5", "1.0", "true", "two", "null", "", "[1]", "010", "1:30"])
def test_only_whole_numbers_are_whole_numbers(text: str) -> None:
    message = complaint(f"optim.inner.rank={text}")
    assert message.startswith("optim.inner.rank must be a whole number, not ")
    assert f"command line: optim.inner.rank={text}" in message


@pytest.mark.parametrize("text", ["true", "fast", ".nan", "null", "{a: 1}"])
def test_wrong_numbers_are_refused(text: str) -> None:
    assert "optim.lr must be a number, not " in complaint(f"optim.lr={text}")


@pytest.mark.parametrize("text", ["yes", "1", "on", "True1"])
def test_only_true_and_false_are_switches(text: str) -> None:
    assert "optim.fused must be true or false, not " in complaint(f"optim.fused={text}")
    assert words("optim.fused=true").optim.fused is True
    assert words("optim.fused=False").optim.fused is False


def test_optional_settings_take_null() -> None:
    assert words("optim.clip=0.2", "optim.clip=null").optim.clip is None
    assert words("task.data=rows.json", "task.data=null").task.data is None
    assert "must be a number or null" in complaint("optim.clip=off")


def test_wrong_choice_lists_the_choices_and_the_nearest() -> None:
    message = complaint("optim.schedule=cosin")
    assert message.startswith("optim.schedule must be one of constant, cosine, not 'cosin'")
    assert "Did you mean cosine?" in message
    assert "one of group_std, none, null" in complaint("task.scale=std")


def test_none_is_a_choice_where_it_is_listed() -> None:
    assert words("task.scale=none").task.scale == "none"
    assert words("task.scale=null").task.scale is None


def test_tuples(tmp_path: Path) -> None:
    assert words("optim.betas=[0.8, 1]").optim.betas == (0.8, 1.0)
    assert resolve(Settings, file=write(tmp_path, "optim: {betas: [0.8, 1e-1]}")).optim.betas == (0.8, 0.1)
    assert "must be a list of 2 numbers, not [0.8]" in complaint("optim.betas=[0.8]")
    assert "must be a list of 2 numbers, not 0.8" in complaint("optim.betas=0.8")
    assert "must be a list of 2 numbers, not [0.8, 'x']" in complaint("optim.betas=[0.8, x]")


def test_text_settings_take_the_characters_as_they_stand(tmp_path: Path) -> None:
    for text in ("007", "1e5", "true", "a: b", "[x", "#1", "data dir/é.json", "2024-01-01", "a=b"):
        assert words(f"task.name={text}").task.name == text
    assert resolve(Settings, file=write(tmp_path, "task: {name: 007}")).task.name == "007"
    assert "task.name must be text, not null" in complaint("task.name=null")


def test_entries_of_a_dictionary() -> None:
    settings = words("task.options.answer=box", "task.options.sizes=[1, 2]", "task.options.tower.depth=3")
    assert settings.task.options == {"answer": "box", "sizes": [1, 2], "tower": {"depth": 3}}
    assert words("task.weights.format=0").task.weights == {"format": 0.0}
    assert "task.weights.format must be a number" in complaint("task.weights.format=low")
    assert "task.options.answer.size" in complaint("task.options.answer=box", "task.options.answer.size=3")


def test_a_dictionary_given_whole_replaces_and_a_dotted_entry_adds(tmp_path: Path) -> None:
    file = write(tmp_path, "task:\n  options:\n    answer: box\n    size: 3\n")
    assert resolve(Settings, file=file, words=["task.options.size=4"]).task.options == {
        "answer": "box",
        "size": 4,
    }
    assert resolve(Settings, file=file, words=["task.options={}"]).task.options == {}
    assert "task.options must be a mapping" in complaint("task.options=box")


def test_a_section_takes_one_plain_value_for_its_first_field(tmp_path: Path) -> None:
    assert words("task=video").task.name == "video"
    assert resolve(Settings, file=write(tmp_path, "task: video\noptim:\n")).task == Task(name="video")
    assert "optim must be a section" in complaint("optim=[1]")
    assert "optim.lr must be a number" in complaint("optim=fast")


def test_dotted_names_work_in_a_file(tmp_path: Path) -> None:
    assert resolve(Settings, file=write(tmp_path, "optim.lr: 2\noptim.inner: {rank: 4}")).optim.inner.rank == 4


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("optm.lr", "optim.lr"),
        ("lr", "optim.lr"),
        ("optim.lrr", "optim.lr"),
        ("rank", "optim.inner.rank"),
        ("optim.rank", "optim.inner.rank"),
        ("learning_rate", "optim.lr"),
        ("learning-rate", "optim.lr"),
        ("optim.learning_rate", "optim.lr"),
        ("task.option", "task.options"),
    ],
)
def test_unknown_settings_come_with_the_nearest(written: str, meant: str) -> None:
    message = complaint(f"{written}=1")
    assert message.startswith(f"there is no setting {written} (command line: {written}=1)")
    assert f"Did you mean {meant}?" in message


def test_a_setting_is_not_a_section() -> None:
    assert "there is no setting optim.lr.peak" in complaint("optim.lr.peak=1")


def test_words_must_be_assignments() -> None:
    assert "'video' is not a setting: write name=value" in complaint("video")
    assert "'=3' is not a setting" in complaint("=3")


def test_faults_in_a_file_name_the_line(tmp_path: Path) -> None:
    where = f"{tmp_path / 'settings.yaml'}, line 3"
    assert where in file_complaint(tmp_path, "task: video\noptim:\n  lr: fast\n")
    assert where in file_complaint(tmp_path, "task: video\noptim:\n  learning_rate: 1\n")
    assert where in file_complaint(tmp_path, "optim:\n  lr: 1\noptim:\n  fused: true\n")
    assert where in file_complaint(tmp_path, "task: video\noptim:\n\tlr: 1\n")
    assert where in file_complaint(tmp_path, "task:\n  options:\n    when: !!python/name:os.system x\n")


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    assert resolve(Settings, file=write(tmp_path, "")) == Settings()
    assert "must be a mapping" in file_complaint(tmp_path, "- a\n- b\n")
    assert "text" in file_complaint(tmp_path, "1: 2\n") or "no setting 1" in file_complaint(tmp_path, "1: 2\n")
    with pytest.raises(UserError, match="does not exist"):
        resolve(Settings, file=tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match=r"binary\.yaml"):
        resolve(Settings, file=binary)
    with pytest.raises(UserError, match="folder"):
        resolve(Settings, file=tmp_path)


def test_bad_flags_are_named() -> None:
    with pytest.raises(ConfigError, match=r"optim\.inner\.rank must be a whole number, not 'x' \(--rank x\)"):
        resolve(Settings, flags=[("optim.inner.rank", "x", "--rank x")])


def test_help_has_every_name_type_default_and_docstring() -> None:
    text = help_text(Settings)
    assert "optim.lr = 1.0e-06  (number)\n    Peak learning rate.\n" in text
    assert "optim.clip = null  (number or null)\n    Clip width; null keeps the preset's.\n" in text
    assert "optim.schedule = constant  (one of constant, cosine)" in text
    assert "optim.betas = [0.9, 0.999]  (list of 2 numbers)" in text
    assert "task.options = {}  (mapping)" in text
    for name in setting_names(Settings):
        assert f"{name} = " in text


def test_every_setting_of_vlmrl_is_documented() -> None:
    lines = help_text(Config).splitlines()
    for name in setting_names(Config):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name} = "))
        assert lines[at + 1].startswith("    "), f"{name} has no docstring under it"


def test_every_alias_leads_to_a_setting_of_vlmrl() -> None:
    names = setting_names(Config)
    for alias in ALIASES.values():
        # options of the algorithm's pieces stand below the names of settings
        assert any(f"{alias}.".startswith(f"{name}.") for name in names), alias


@pytest.mark.parametrize("file", sorted(configs_dir().rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_file_of_settings_is_valid(file: Path) -> None:
    resolve(Config, file=file)


def test_vlmrls_own_defaults_round_trip(tmp_path: Path) -> None:
    assert resolve(Config, file=write(tmp_path, to_yaml(Config()))) == Config()


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    plain, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3), max_leaves=5
)
names = st.text(min_size=1).filter(lambda text: text.strip())
settings_values = st.builds(
    Settings,
    task=st.builds(
        Task,
        name=st.text(),
        options=st.dictionaries(st.text(), values, max_size=3),
        weights=st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3),
        data=st.none() | st.text(),
        scale=st.sampled_from(["group_std", "none", None]),
    ),
    optim=st.builds(
        Optim,
        lr=st.floats(allow_nan=False),
        schedule=st.sampled_from(["constant", "cosine"]),
        betas=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
        clip=st.none() | st.floats(allow_nan=False),
        fused=st.booleans(),
        inner=st.builds(Inner, rank=st.integers(), alpha=st.floats(allow_nan=False)),
    ),
)


@given(settings_values)
def test_printed_settings_read_back_equal(settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert resolve(Settings, file=write(Path(folder), to_yaml(settings))) == settings


def as_word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


@given(st.data())
def test_a_value_set_by_a_word_comes_back_equal(data: st.DataObject) -> None:
    number = data.draw(st.floats(allow_nan=False))
    assert words(f"optim.lr={as_word(number)}").optim.lr == number
    whole = data.draw(st.integers())
    assert words(f"optim.inner.rank={whole}").optim.inner.rank == whole
    switch = data.draw(st.booleans())
    assert words(f"optim.fused={as_word(switch)}").optim.fused is switch
    null_spellings = {"", "~", "null", "Null", "NULL"}
    text = data.draw(st.text().filter(lambda text: text.strip() not in null_spellings))
    assert words(f"task.name={text}").task.name == text
    assert words(f"task.data={text}").task.data == text
    betas = data.draw(st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)))
    assert words(f"optim.betas={as_word(list(betas))}").optim.betas == betas


@dataclass(frozen=True)
class Options:
    answer: Literal["point", "box"] = "point"
    size: int = 3
    inner: Inner = field(default_factory=Inner)


def test_options_of_a_plugin_are_checked_against_its_class() -> None:
    assert build(Options, {"answer": "box", "inner": {"rank": 2}}, "task.options") == Options("box", 3, Inner(2))
    with pytest.raises(ConfigError, match=r"no setting task\.options\.answr.* Did you mean task\.options\.answer\?"):
        build(Options, {"answr": "box"}, "task.options")
    with pytest.raises(ConfigError, match=r"task\.options\.answer must be one of point, box, not 'bx'.*mean box\?"):
        build(Options, {"answer": "bx"}, "task.options")
    with pytest.raises(ConfigError, match=r"task\.options\.size must be a whole number, not '3'"):
        build(Options, {"size": "3"}, "task.options")


def test_a_plugin_without_options_takes_none() -> None:
    class Plain:
        pass

    assert isinstance(build(Plain, {}, "task.options"), Plain)
    with pytest.raises(ConfigError, match="Plain takes no options"):
        build(Plain, {"answer": "box"}, "task.options")


def test_to_dict_is_plain_data() -> None:
    assert to_dict(Settings())["optim"]["betas"] == [0.9, 0.999]

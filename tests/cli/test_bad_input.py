"""Everything a user can get wrong: one clear message with a fix, exit code 2, no traceback, nothing written."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from vlmrl.cli.main import main
from vlmrl.paths import tiny_model_dir


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small data set in ScreenSpot-v2's format: six pictures, one row each."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(6):
        Image.new("RGB", (200, 120), (40 * i, 80, 120)).save(folder / "images" / f"{i}.png")
        rows.append(
            {
                "img_filename": f"{i}.png",
                "bbox": [20, 30, 60, 40],
                "instruction": "click it",
                "data_type": "text",
                "data_source": "web",
            }
        )
    (folder / "rows.json").write_text(json.dumps(rows))
    return folder


def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str, command: str = "train") -> str:
    """Runs a command that must fail; returns the message."""
    run = ["--run", str(tmp_path / "new-run")] if command == "train" and "--run" not in words else []
    small = ["data.held_out_rows=0"] if command == "train" else []
    code = main([command, *words, *run, *small])
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert not (tmp_path / "new-run").exists()
    messages = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1
    assert "Traceback" not in captured.err
    return messages[0]


def edit_rows(data: Path, **changes: object) -> None:
    rows = json.loads((data / "rows.json").read_text())
    rows[4] |= changes
    (data / "rows.json").write_text(json.dumps(rows))


def test_sound_data_passes(data: Path, tmp_path: Path) -> None:
    assert main(["check", "--data", str(data / "rows.json")]) == 0


def test_unknown_task(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "did you mean gui_grounding" in refused(capsys, tmp_path, "--task", "gui_groundin")


def test_model_folder_without_processor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model_dir(), model)
    for name in ("processor_config.json", "preprocessor_config.json"):
        (model / name).unlink(missing_ok=True)
    message = refused(capsys, tmp_path, "--model", str(model))
    assert "no processor" in message
    assert "processor.save_pretrained" in message


def test_model_folder_that_is_empty(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    assert "config.json" in refused(capsys, tmp_path, "--model", str(tmp_path / "model"))


def test_model_family_without_adapter(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model_dir(), model)
    (model / "config.json").write_text(json.dumps({"model_type": "llava"}))
    assert "qwen3_vl" in refused(capsys, tmp_path, "--model", str(model))


def test_misspelt_setting(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "rollout.group_size" in refused(capsys, tmp_path, "rollout.groupsize=4")


def test_unknown_task_option(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "answer" in refused(capsys, tmp_path, "task.options.anwser=box")


def test_unknown_reward_weight(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "point_in_box" in refused(capsys, tmp_path, "task.weights.hit=1")


def test_unknown_device(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "--device cpu" in refused(capsys, tmp_path, "--device", "cuda:99")


def test_missing_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "does not exist" in refused(capsys, tmp_path, "--data", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("content", ["", "[]", '[{"a": 1}]', "not json", '{"rows": []}'])
def test_data_in_another_format(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.json").write_text(content)
    assert "rows.json" in refused(capsys, tmp_path, "--data", str(tmp_path / "rows.json"))


def test_empty_data_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert str(tmp_path / "data") in refused(capsys, tmp_path, "--data", str(tmp_path / "data"))


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_truncated(path: Path) -> None:
    Image.effect_noise((200, 120), 50).save(path)
    path.write_bytes(path.read_bytes()[:4000])


def spoil_zero_byte(path: Path) -> None:
    path.write_bytes(b"")


def spoil_one_pixel(path: Path) -> None:
    Image.new("RGB", (1, 1)).save(path)


def spoil_wide(path: Path) -> None:
    Image.new("RGB", (20_000, 120)).save(path)


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_truncated, spoil_zero_byte, spoil_one_pixel, spoil_wide])
@pytest.mark.parametrize("command", ["train", "check", "eval"])
def test_bad_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path, spoil, command: str) -> None:
    spoil(data / "images" / "4.png")
    if command == "check":
        code = main(["check", "--data", str(data / "rows.json")])
        message = "".join(capsys.readouterr())
        assert code == 2
        assert "Traceback" not in message
    else:
        message = refused(capsys, tmp_path, "--data", str(data / "rows.json"), command=command)
    assert "4.png" in message.replace("\n", "")


@pytest.mark.parametrize("bbox", [[180, 30, 60, 40], [20, 30, 0, 40], [-5, 30, 60, 40], [20, 30, 60], "20,30,60,40"])
def test_bad_box(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path, bbox: object) -> None:
    edit_rows(data, bbox=bbox)
    message = refused(capsys, tmp_path, "--data", str(data / "rows.json"))
    assert "row 4" in message
    assert "bbox" in message


def test_group_of_one_with_the_groups_deviation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(capsys, tmp_path, "rollout.group_size=1", "algorithm.advantage.scale=group")
    assert "rollout.group_size=2" in message


def test_run_folder_in_use(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "notes.txt").write_text("mine")
    message = refused(capsys, tmp_path, "--run", str(used))
    assert f"--resume {used}" in message
    assert [path.name for path in used.iterdir()] == ["notes.txt"]


def test_resume_of_something_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "not a run folder" in refused(capsys, tmp_path, "--resume", str(tmp_path))


def test_no_space_for_a_checkpoint(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmrl.training.checkpoint.shutil.disk_usage", lambda path: type("Usage", (), {"free": 10_000}))
    assert "no space for a checkpoint" in refused(capsys, tmp_path)


def test_pictures_all_alike_cannot_be_split(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path) -> None:
    edit_rows(data, img_filename="0.png")
    rows = json.loads((data / "rows.json").read_text())
    (data / "rows.json").write_text(json.dumps([rows[0], rows[4]]))
    code = main(["train", "--data", str(data / "rows.json"), "--run", str(tmp_path / "new-run")])
    assert code == 2
    assert "data.held_out_rows=0" in capsys.readouterr().err


def test_unknown_benchmark(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "screenspot-pro" in refused(capsys, tmp_path, "--benchmark", "screenspot-v3", command="eval")


def test_report_of_no_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "run" in refused(capsys, tmp_path, str(tmp_path), command="report")

"""Whole evaluations: kept, continued, scored again, audited, spread over processes; always the same card."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.evaluation.conftest import ROWS, evaluation_config
from vlmrl.config import Config
from vlmrl.errors import Interrupted, UserError
from vlmrl.evaluation import run
from vlmrl.evaluation.run import evaluate


def answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def folders() -> list[Path]:
    return sorted(Path("evals").iterdir())


def test_the_card_says_what_was_measured_and_how(config: Config) -> None:
    card = evaluate(config)
    (folder,) = folders()
    assert folder.name.startswith("gui_grounding-tiny-")
    assert json.loads((folder / "card.json").read_text()) == json.loads(json.dumps(card))
    assert card["n"] == card["rows"] == ROWS
    assert card["metrics"]["hit"]["n"] == ROWS
    assert card["low"] <= card["score"] <= card["high"]
    made = card["provenance"]
    assert made["scorer"]["name"] == "hit"
    assert made["pixels"]["min_pixels"] < made["pixels"]["max_pixels"]
    assert made["decoding"]["temperature"] == 0
    assert made["model"]["fingerprint"]
    assert len(answers(folder)) == ROWS
    for line in answers(folder):
        (name,) = line["sample"]["images"]
        assert Image.open(folder / "images" / f"{name}.png").size == tuple(line["sample"]["sizes"][0])


def test_a_stopped_evaluation_continues_to_the_same_card(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(config, Path("whole"))
    lines_of, calls = run._Model._lines, []

    def interrupted(self: Any, folder: Any, rows: Any, start: int) -> Any:
        calls.append(start)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return lines_of(self, folder, rows, start)

    monkeypatch.setattr(run._Model, "_lines", interrupted)
    with pytest.raises(Interrupted, match="the same command continues"):
        evaluate(config, Path("stopped"))
    assert not Path("stopped/card.json").exists()
    assert evaluate(config, Path("stopped")) == whole
    assert calls == [0, 4, 4, 8]
    assert Path("stopped/answers.jsonl").read_bytes() == Path("whole/answers.jsonl").read_bytes()
    assert evaluate(config, Path("stopped")) == whole
    assert calls == [0, 4, 4, 8]


def test_another_evaluation_is_not_mixed_in(config: Config) -> None:
    evaluate(config, Path("one"))
    with pytest.raises(UserError, match=r"one holds another evaluation \(checksum was .* choose another folder"):
        evaluate(evaluation_config("data.max_rows=3"), Path("one"))
    Path("other").mkdir()
    Path("other/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something that is no evaluation"):
        evaluate(config, Path("other"))


def test_written_answers_score_as_they_did(config: Config) -> None:
    card = evaluate(config, Path("model"))
    again = evaluate(config, Path("file"), predictions=Path("model/answers.jsonl"))
    assert {key: again[key] for key in ("score", "low", "high", "cells", "metrics", "unparsed")} == {
        key: card[key] for key in ("score", "low", "high", "cells", "metrics", "unparsed")
    }
    for ours, theirs in zip(answers(Path("model")), answers(Path("file")), strict=True):
        assert ours["metrics"] == theirs["metrics"]
        assert ours["rollouts"][0]["answer"] == theirs["rollouts"][0]["answer"]


def test_sampling_depends_on_the_seed_alone(config: Config) -> None:
    hot = ("eval.temperature=1.0", "run.seed=5")
    first = evaluate(evaluation_config(*hot), Path("a"))
    assert evaluate(evaluation_config(*hot), Path("b")) == first
    texts = {name: [line["rollouts"][0]["text"] for line in answers(Path(name))] for name in ("a", "b")}
    assert texts["a"] == texts["b"]
    evaluate(evaluation_config("eval.temperature=1.0", "run.seed=6"), Path("c"))
    assert [line["rollouts"][0]["text"] for line in answers(Path("c"))] != texts["a"]


def test_an_audit_shows_what_is_not_vision(config: Config) -> None:
    audit = evaluate(config, Path("a"), audit=True)["audit"]
    assert list(audit)[:3] == ["the model", "the model, blind", "the model, shuffled"]
    assert audit["the format without numbers"]["value"] == 0
    assert audit["an empty completion"]["unparsed"] == ROWS
    centre = audit["the picture's centre"]
    rows = answers(Path("a"))
    hits = 0
    for line in rows:
        x1, y1, x2, y2 = line["sample"]["gold"]["coordinates"]
        (width, height) = line["sample"]["sizes"][0]
        hits += x1 <= width / 2 <= x2 and y1 <= height / 2 <= y2
    assert centre["value"] == hits / ROWS
    grey = answers_of(Path("a/blind/chunks"))
    assert len(grey) == ROWS
    name = grey[0]["sample"]["images"][0]
    assert Image.open(f"a/blind/images/{name}.png").getextrema() == ((128, 128),) * 3


def answers_of(chunks: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(chunks.iterdir()) for line in file.read_text().splitlines()]


def test_a_scorer_that_fails_is_counted_and_does_not_end_the_run(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlmrl.registry import find_task

    task = find_task("gui_grounding").task_class
    plain = task.hit  # type: ignore[attr-defined]

    def failing(self: Any, answer: Any, sample: Any, rollout: Any) -> float:
        if sample.id.endswith("3"):
            raise ZeroDivisionError("no area")
        return float(plain(self, answer, sample, rollout))

    failing.__metric__ = True  # type: ignore[attr-defined]
    monkeypatch.setattr(task, "hit", failing)
    card = evaluate(config, Path("a"))
    assert card["unscorable"] == 1
    assert card["n"] == ROWS
    assert any("no area" in line.get("error", "") for line in answers(Path("a")))


def test_benchmark_and_data_must_fit(config: Config) -> None:
    with pytest.raises(UserError, match="needs its data"):
        evaluate(evaluation_config("eval.benchmark=screenspot-v2"))
    with pytest.raises(UserError, match=r"unknown benchmark 'screenspot-v3'; did you mean screenspot"):
        evaluate(evaluation_config("eval.benchmark=screenspot-v3"))
    with pytest.raises(UserError, match="only a benchmark has splits"):
        evaluate(evaluation_config("eval.split=val"))


@pytest.mark.slow
def test_two_processes_give_the_card_of_one(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = ["eval", "--save", "DIR", "--limit", "130", "run.device=cpu"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines"]
    launcher += ["1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m"]
    for name, start in (("one", [sys.executable, "-m"]), ("two", launcher)):
        folder = tmp_path / name
        command = [*start, "vlmrl", *(str(folder) if word == "DIR" else word for word in words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=600)
        assert done.returncode == 0, done.stderr
    one, two = ((tmp_path / name / "card.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_folder_is_named_by_what_is_evaluated(config: Config) -> None:
    evaluate(config)
    evaluate(replace(config, eval=replace(config.eval, temperature=0.5)))
    assert len(folders()) == 2

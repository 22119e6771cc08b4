"""The rollout benchmark: what is sampled and what is written. Nothing here is timed."""

import json
from pathlib import Path

import pytest

from vlmrl.cli.main import main


def test_rollout_counts_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rollout.json"
    assert main(["bench", "rollout", "--setting", "48,3,4", "--reps", "1", "--device", "cpu", "--json", str(file)]) == 0
    ours, theirs = json.loads(file.read_text())["results"]
    assert (ours["peer"], theirs["peer"]) == ("vlmrl", "hf generate")
    assert ours["setting"] == {"P": 48, "C": 3, "G": 4}
    assert ours["counts"]["images_encoded"] == theirs["counts"]["images_encoded"] == 1
    assert ours["counts"]["token_rows"] == {"prompt": 48, "decode": 8, "score": 0}
    assert theirs["counts"]["token_rows"] == {"prompt": 4 * 48, "decode": 8, "score": 0}
    assert ours["ratio_median"] == 1
    assert ours["tokens_per_second"] > 0
    assert "decoding/s" in capsys.readouterr().out

"""Runs of several tasks: rows keep to the ratios, are scored by their own task, and resume bit for bit."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import MakeConfig
from tests.training.test_run import assert_same_run, lines
from vlmrl.checks.run import check
from vlmrl.cli.main import main
from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.evaluation.card import MIXED_METRIC, ScoreCard, mean_card
from vlmrl.evaluation.run import evaluate
from vlmrl.evaluation.statistics import Estimate
from vlmrl.registry import find_task
from vlmrl.resolve import resolve, to_yaml
from vlmrl.settings_help import help_text
from vlmrl.task_mix import task_mix
from vlmrl.training.data import Joined, MixedOrder, RowOrder
from vlmrl.training.run import train

BOTH = ("task.name=gui_grounding,brightest_square", "task.each.gui_grounding.ratio=2")
GUI, SQUARES = "gui_grounding", "brightest_square"


@pytest.fixture(autouse=True)
def own_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMRL_TASKS", str(Path(__file__).parents[2] / "examples" / "own_task" / "tasks"))


@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=4), st.integers(1, 200))
def test_every_stretch_of_the_order_keeps_to_the_ratios(ratios: list[float], count: int) -> None:
    rows = [3 + i for i in range(len(ratios))]
    starts = [0, *itertools.accumulate(rows)]
    taken = Counter(
        next(i for i in range(len(rows)) if starts[i] <= index < starts[i + 1])
        for index in MixedOrder(rows, ratios, seed=5).next(count)
    )
    for i, ratio in enumerate(ratios):
        # a divisor method leaves its quota, but never by more than one row for each other source
        assert abs(taken[i] - count * ratio / sum(ratios)) < len(ratios)


def test_the_order_of_one_source_is_the_row_order() -> None:
    assert MixedOrder([7], [0.3], seed=2).next(20) == RowOrder(7, seed=2).next(20)


def test_a_saved_order_continues_where_it_stood() -> None:
    whole, halves = (MixedOrder([5, 3], [1.0, 2.0], seed=1) for _ in range(2))
    first = halves.next(11)
    resumed = MixedOrder([5, 3], [1.0, 2.0], seed=1)
    resumed.load_state_dict(halves.state_dict())
    assert first + resumed.next(12) == whole.next(23)
    with pytest.raises(UserError, match="5 training rows and finds 6"):
        MixedOrder([6, 3], [1.0, 2.0], seed=1).load_state_dict(halves.state_dict())


def test_joined_rows_are_their_sources_in_turn() -> None:
    joined = Joined([["a", "b"], [], ["c"]])  # type: ignore[list-item]
    assert list(joined) == ["a", "b", "c"]
    assert len(joined) == 3


def test_rows_are_scored_by_their_own_task_and_metrics_are_kept_apart(small_config: MakeConfig) -> None:
    summary = train(small_config(*BOTH, "run.steps=2", "rollout.prompts_per_step=6"))
    run = Path(summary["paths"]["run"])
    groups = lines(run / "rollouts" / "step-000001.jsonl")
    tasks = [group["sample"]["id"].partition("/")[0] for group in groups]
    assert Counter(tasks) == {GUI: 4, SQUARES: 2}
    own_rewards = {name: set(find_task(name).task_class.rewards()) for name in (GUI, SQUARES)}
    assert own_rewards[SQUARES] == {"on_target", "nearness"}
    for group, task in zip(groups, tasks, strict=True):
        assert all(set(rollout["scores"]) == own_rewards[task] for rollout in group["rollouts"])
    before, first, *_, after = lines(run / "metrics.jsonl")
    assert set(first["tasks"]) == {GUI, SQUARES}
    assert [first["tasks"][name]["groups"] for name in (GUI, SQUARES)] == [4, 2]
    assert set(first["tasks"][SQUARES]["rewards"]) == own_rewards[SQUARES]
    assert set(first["rewards"]) == {f"{task}.{name}" for task, names in own_rewards.items() for name in names}
    for key in ("accuracy", "reward", "dead_groups", "unparsed"):
        parts = first["tasks"][GUI][key], first["tasks"][SQUARES][key]
        assert first[key] == pytest.approx((4 * parts[0] + 2 * parts[1]) / 6)
    assert before["metric"] == MIXED_METRIC
    assert before["n"] == 16  # data.held_out_rows of each task
    cards = before["tasks"].values()
    assert before["score"] == pytest.approx(sum(card["score"] for card in cards) / 2)
    assert summary["tasks"][SQUARES]["before"]["score"] == before["tasks"][SQUARES]["score"]
    assert summary["after"]["score"] == after["score"]
    rows = lines(run / "evals" / "step-000000.jsonl")
    assert len({row["group"] for row in rows}) == len({row["sample"]["id"] for row in rows}) == 16
    assert all(row["metrics"]["accuracy"] == row["metrics"]["hit"] for row in rows)


def test_pictures_and_videos_share_a_step(small_config: MakeConfig) -> None:
    config = small_config(
        "task.name=video_temporal,gui_grounding", "run.steps=2", "eval.every=0", "data.held_out_rows=2"
    )
    summary = train(config)
    steps = [line for line in lines(Path(summary["paths"]["run"]) / "metrics.jsonl") if line["kind"] == "train"]
    assert all(step["tasks"][name]["groups"] == 3 for step in steps for name in ("video_temporal", "gui_grounding"))
    assert all(step["grad_norm"] > 0 and step["reward_errors"] == 0 for step in steps)
    assert set(summary["tasks"]) == {"video_temporal", "gui_grounding"}


def test_what_is_watched_of_tokens_is_kept_apart(small_config: MakeConfig) -> None:
    words = ("run.steps=2", "optim.inner_epochs=2", "optim.lr=1e-3", "algorithm=grpo_kl", "optim.warmup_steps=0")
    summary = train(small_config(*BOTH, *words, "eval.every=0", "data.held_out_rows=0"))
    step = lines(Path(summary["paths"]["run"]) / "metrics.jsonl")[-1]
    tokens = {name: one["completion_tokens"] * one["rollouts"] for name, one in step["tasks"].items()}
    assert step["tasks"][GUI]["kl"] != step["tasks"][SQUARES]["kl"]
    for key in ("clip_low", "clip_high", "kl"):
        parts = sum(one[key] * tokens[name] for name, one in step["tasks"].items())
        assert step[key] == pytest.approx(parts / sum(tokens.values()), abs=1e-6)
        assert step[key] > 0


def test_two_and_two_steps_of_two_tasks_equal_four(small_config: MakeConfig) -> None:
    # five prompts a step: the ratios' period of three falls across the break
    words = (*BOTH, "rollout.prompts_per_step=5", "algorithm.preset=dapo", "algorithm.filter.max_refills=1")
    straight = small_config(*words, run="straight")
    stopped = small_config(*words, "run.steps=2", run="stopped")
    train(straight)
    train(stopped)
    train(replace(stopped, run=replace(stopped.run, steps=4)), resume=Path(str(stopped.run.dir)))
    assert_same_run(Path(str(straight.run.dir)), Path(str(stopped.run.dir)))


def test_a_task_s_advantages_have_their_own_scale(small_config: MakeConfig) -> None:
    words = (*BOTH, "run.steps=1", "eval.every=0", "data.held_out_rows=0")
    train(small_config(*words, run="alike"))
    train(small_config(*words, f"task.each.{GUI}.scale=none", run="apart"))
    alike, apart = (
        lines(Path(str(small_config(run=name).run.dir)) / "rollouts" / "step-000001.jsonl")
        for name in ("alike", "apart")
    )
    differ = set()
    for a, b in zip(alike, apart, strict=True):
        assert [r["reward"] for r in a["rollouts"]] == [r["reward"] for r in b["rollouts"]]
        if [r["advantage"] for r in a["rollouts"]] != [r["advantage"] for r in b["rollouts"]]:
            differ.add(a["sample"]["id"].partition("/")[0])
    assert differ == {GUI}


def test_options_weights_and_rows_are_set_for_one_task() -> None:
    words = [*BOTH, f"task.each.{GUI}.options.answer=box", f"task.each.{SQUARES}.weights.nearness=0"]
    words.append(f"task.each.{SQUARES}.train=squares.jsonl")
    gui, squares = task_mix(resolve(Config, words=words)).parts
    assert gui.task.answer == "box"  # type: ignore[attr-defined]
    assert squares.weights == {"on_target": 1.0, "nearness": 0.0}
    assert (gui.ratio, squares.ratio) == (2.0, 1.0)
    assert (gui.data.train, squares.data.train) == (None, "squares.jsonl")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.options.answer=box"], r"task\.options does not say .* use task\.each\.gui_grounding\.options"),
        (["task.weights.format=0"], r"use task\.each\.gui_grounding\.weights"),
        (["data.train=rows.json"], r"use task\.each\.gui_grounding\.train"),
        (["task.each.squares.ratio=1"], r"task\.each\.squares: .* has no such task"),
        ([f"task.each.{SQUARES}.ratio=0"], r"ratio=0: must be above 0"),
        ([f"task.each.{SQUARES}.weights.format=1"], r"task\.each\.brightest_square\.weights\.format: no such reward"),
        ([f"task.each.{GUI}.options.answr=box"], r"task\.each\.gui_grounding\.options\.answr.*Did you mean"),
        ([f"task.each.{GUI}.rato=2"], r"there is no setting task\.each\.gui_grounding\.rato"),
        ([f"task.each.{GUI}.ratio=much"], r"task\.each\.gui_grounding\.ratio must be a number"),
        (["task.each=2"], r"task\.each must be a mapping"),
        (["task.name=gui_grounding,gui_grounding"], "every task once"),
        (["task.name=gui_grounding,"], "every task once"),
        (["task.name=gui_grounding"], r"a run of gui_grounding alone sets task\.options"),
        (["task.name=gui_grounding,chess"], r"task\.each\.brightest_square: .* has no such task|unknown task 'chess'"),
    ],
)
def test_settings_that_fit_no_task_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        task_mix(resolve(Config, words=[*BOTH, *words]))


def test_settings_of_each_task_survive_a_settings_file(tmp_path: Path) -> None:
    config = resolve(Config, words=[*BOTH, f"task.each.{GUI}.options.answer=box"])
    (tmp_path / "settings.yaml").write_text(to_yaml(config))
    assert resolve(Config, file=tmp_path / "settings.yaml") == config
    (tmp_path / "settings.yaml").write_text("task:\n  name: a,b\n  each:\n    a:\n    b: {ratio: 3, scale: none}\n")
    each = resolve(Config, file=tmp_path / "settings.yaml", words=["task.each.b.ratio=4"]).task.each
    assert (each["a"].ratio, each["b"].ratio, each["b"].scale) == (1.0, 4.0, "none")
    assert "task.each.NAME.ratio = 1.0" in help_text(Config)


def test_check_reports_on_every_task(tmp_path: Path) -> None:
    assert main(["check", "--task", f"{GUI},{SQUARES}", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["ok"]
    assert {name: one["rows"] for name, one in found["tasks"].items()} == {GUI: 200, SQUARES: 200}


def test_check_fails_for_the_worst_of_them(tmp_path: Path) -> None:
    # of two settings that pay the same, attacks earn as much as gold
    words = [*BOTH, f"task.each.{SQUARES}.weights.on_target=0", f"task.each.{SQUARES}.weights.nearness=0"]
    found = check(resolve(Config, words=words))
    assert not found.ok
    assert {name: one["ok"] for name, one in found.record()["tasks"].items()} == {GUI: True, SQUARES: False}


def test_commands_of_one_task_say_so(small_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="vlmrl eval takes one task at a time"):
        evaluate(small_config(*BOTH))
    assert main(["plan", "--task", f"{GUI},{SQUARES}"]) == 2
    assert "vlmrl plan takes one task at a time" in capsys.readouterr().err


def card(score: float, half: float, n: int) -> ScoreCard:
    return ScoreCard(
        "hit",
        score,
        score - half,
        score + half,
        n,
        1,
        0,
        score,
        {},
        {"hit": Estimate(score, score - half, score + half, n)},
    )


def test_the_mean_card_counts_tasks_alike_and_adds_their_errors_in_quadrature() -> None:
    mean = mean_card({"a": card(0.2, 0.03, 100), "b": card(0.6, 0.04, 10)})
    assert (mean.score, mean.low, mean.high) == pytest.approx((0.4, 0.4 - 0.025, 0.4 + 0.025))  # 3-4-5 / 2
    assert (mean.n, mean.unparsed) == (110, 2)
    assert mean.cells["b"] == Estimate(0.6, pytest.approx(0.56), pytest.approx(0.64), 10)
    assert {name: figure.value for name, figure in mean.metrics.items()} == {"a.hit": 0.2, "b.hit": 0.6}

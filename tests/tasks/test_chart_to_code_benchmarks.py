"""ChartMimic's and Plot2Code's figures over rows together, the user's judge, and what evaluations of them get wrong."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from vlmrl.errors import UserError
from vlmrl.evaluation.card import Evaluated, ScoreCard, score_card
from vlmrl.evaluation.statistics import Estimate
from vlmrl.geometry import ImageRecord, Size
from vlmrl.registry import find_task
from vlmrl.task import Task, metric_values
from vlmrl.types import Answer, Code, Finish, Group, Prompt, Rollout, Sample, Unparsed

FOLDER = find_task("chart_to_code")
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
IMPORT = "import matplotlib.pyplot as plt\n"
GOLD = f"{IMPORT}plt.bar(['a', 'b', 'c'], [3, 1, 2], color='tab:blue')\nplt.title('Sales')\nplt.ylabel('units')"
RETITLED = GOLD.replace("Sales", "Costs")
FAILS = f"{GOLD}\nraise ValueError"
NONE = Unparsed("no block")
JUDGE = """
def rate(gold, answer):
    assert gold.startswith(b"\\x89PNG") and answer.startswith(b"\\x89PNG")
    return 100 if gold == answer else 40
def wild(gold, answer):
    return "good"
rating = 3
"""


@pytest.fixture(scope="module")
def task() -> Task:
    return FOLDER.create({"workers": 2})


def row(name: str = "bar_1") -> Sample:
    tags = {"type": name.rpartition("_")[0]}
    return Sample(name, (), (ImageRecord(0, Size(64, 48)),), "draw it", Code(GOLD), tags=tags)


def evaluated(task: Task, *answers: str | Unparsed) -> list[Evaluated]:
    found = []
    for i, source in enumerate(answers):
        answer: Answer | Unparsed = source if isinstance(source, Unparsed) else Code(source)
        rollout, sample = Rollout([], [], 0.0, "", Finish.STOP, answer), row(f"bar_{i}")
        group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
        found.append(Evaluated(group, metric_values(task, sample, rollout)))
    return found


def card(task: Task, name: str, *answers: str | Unparsed) -> ScoreCard:
    benchmark = BENCHMARKS[name]
    return score_card(task, evaluated(task, *answers), benchmark.cells, benchmark.metric, benchmark.figures)


def test_chartmimic_has_every_row_in_its_denominators(task: Task) -> None:
    found = card(task, "chartmimic", GOLD, RETITLED, FAILS, NONE)
    assert (found.metric, found.n, found.unparsed, found.unscorable) == ("low_level", 4, 1, 0)
    assert found.metrics["text_f1"].value == pytest.approx((1 + 1 / 2) / 4)
    assert [found.metrics[name].value for name in ("layout_f1", "type_f1", "color_f1", "executes")] == [0.5] * 4
    assert found.score == pytest.approx((1 + (1 / 2 + 3) / 4) / 4)
    assert "high_level" not in found.metrics


def test_pitfall_plot2code_leaves_failures_out_of_its_text_match(task: Task) -> None:
    found = card(task, "plot2code", GOLD, RETITLED, FAILS, NONE)
    # one of its texts differs, ticks included
    count = len(task._studio.draw([GOLD])[0].figure.texts)  # type: ignore[attr-defined]
    assert (found.metric, found.metrics["text_match"].n) == ("text_match", 2)
    assert found.score == pytest.approx((1 + (count - 1) / (count + 1)) / 2)
    assert found.metrics["executes"].value == 0.5


def test_a_model_that_draws_nothing_has_a_card_too(task: Task) -> None:
    found = card(task, "plot2code", FAILS, NONE)
    assert found.metrics["text_match"] == Estimate(0.0, 0.0, 1.0, 0)
    assert (found.score, found.metrics["executes"].value) == (0, 0)


def test_pitfall_a_script_that_crashes_leaves_no_partial_figure(task: Task) -> None:
    """ChartMimic's scoring run wraps scripts in try/except and scores what was drawn before the crash."""
    assert card(task, "chartmimic", FAILS).score == 0


def test_pitfall_a_script_without_a_plot_does_not_get_the_score_of_the_one_before(task: Task) -> None:
    """ChartMimic's type evaluator returns early and keeps its last values."""
    empty = f"{IMPORT}plt.figure().text(0.5, 0.5, 'Sales')"
    assert card(task, "chartmimic", GOLD, empty).metrics["type_f1"].value == 0.5


def test_pitfall_what_follows_the_first_save_counts(task: Task) -> None:
    saved_early = GOLD.replace("plt.title", "plt.savefig('chart.png')\nplt.title").replace(
        "units')", "units')\nplt.savefig('b.png')"
    )
    assert card(task, "chartmimic", saved_early).score == 1


def test_a_benchmark_keeps_rows_whose_own_script_fails_here(
    task: Task, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = FOLDER.path / "samples" / "chartmimic"
    shutil.copytree(samples, tmp_path / "direct")
    (tmp_path / "direct" / "bar_1.py").write_text("import no_such_library")
    rows = BENCHMARKS["chartmimic"].load(tmp_path / "direct")
    assert [row.id for row in rows] == ["bar_1", "errorbar_2"]
    assert "1 of 2 scripts do not draw exactly one chart" in caplog.text
    assert "bar_1.py: error: line 1: ModuleNotFoundError" in caplog.text
    with pytest.raises(RuntimeError, match="the row's own script cannot be compared with"):
        task.low_level(Code(GOLD), rows[0], Rollout([], [], 0.0, "", Finish.STOP, Code(GOLD)))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="1 of 2 scripts"):
        task.load(tmp_path / "direct")
    (tmp_path / "direct" / "errorbar_2.py").write_text("import no_such_library")
    with pytest.raises(UserError, match="2 of 2 scripts"):
        BENCHMARKS["chartmimic"].load(tmp_path / "direct")


def test_the_users_judge_rates_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(JUDGE)
    judged = FOLDER.create({"judge": f"{tmp_path / 'judge.py'}:rate"})
    found = card(judged, "chartmimic", GOLD, RETITLED, FAILS, NONE).metrics
    assert found["high_level"].value == pytest.approx((1 + 0.4) / 4)
    assert found["overall"].value == pytest.approx((found["high_level"].value + found["low_level"].value) / 2)


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("judge", r"task\.options\.judge=judge: must be FILE\.py:FUNCTION"),
        ("{}/gone.py:rate", r"gone\.py is no Python file here"),
        ("{}/judge.py:missing", r"has no function missing"),
        ("{}/judge.py:rating", r"has no function rating"),
        ("{}/broken.py:rate", r"cannot be imported: ZeroDivisionError"),
    ],
)
def test_an_impossible_judge(judge: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(UserError, match=message):
        FOLDER.create({"judge": judge.format(tmp_path)})


def test_a_judge_that_rates_off_the_scale(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(JUDGE)
    with pytest.raises(UserError, match="rates a chart 'good'; it must return a number from 0 to 100"):
        card(FOLDER.create({"judge": f"{tmp_path / 'judge.py'}:wild"}), "chartmimic", GOLD)

"""Rewards and metrics of chart to code, and every way found to be paid without drawing the chart."""

import time
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")

from tests.sandbox.charts import descendants
from vlmrl.answers.code import fenced
from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Size, Unit
from vlmrl.registry import find_task
from vlmrl.sandbox import Limits, Outcome, Sandbox, Status
from vlmrl.task import Task, metric_values, reward_weights, score_group
from vlmrl.types import Code, Finish, Group, Prompt, PromptMode, Rollout, Sample

FOLDER = find_task("chart_to_code")
drawing = FOLDER.submodule("drawing")
attacks = FOLDER.submodule("attacks")
CONVENTION = Convention(Unit.NORM1000, "json")
IMPORT = "import matplotlib.pyplot as plt\n"
GOLD = f"{IMPORT}plt.bar(['a', 'b', 'c'], [3, 1, 2], color='tab:blue')\nplt.title('Sales')\nplt.ylabel('units')"
HONEST_WRONG = f"{IMPORT}plt.bar(['a', 'b', 'c'], [1, 3, 3], color='tab:red')\nplt.title('Costs')"
GOLD_REWARD = 1.4


@pytest.fixture(scope="module")
def task() -> Task:
    return FOLDER.create({"workers": 2})


def row(gold: str = GOLD, mode: PromptMode = PromptMode.DIRECT) -> Sample:
    return Sample("chart-0", (), (ImageRecord(0, Size(64, 48)),), "draw it", Code(gold), mode)


def group_of(task: Task, sample: Sample, *texts: str, finish: Finish = Finish.STOP) -> Group:
    rollouts = [Rollout([], [], 0.0, text, finish, task.parse(text, finish, sample, CONVENTION)) for text in texts]
    group = Group("g", Prompt(sample, "", None, {}), rollouts)  # type: ignore[arg-type]
    score_group(task, group, reward_weights(task, {}))
    for rollout in rollouts:
        assert not any(score.error for score in rollout.scores.values()), rollout.scores
    return group


def scored(task: Task, source: str, sample: Sample | None = None) -> Rollout:
    return group_of(task, sample or row(), fenced(source)).rollouts[0]


def metrics(task: Task, sample: Sample, rollout: Rollout) -> dict[str, float]:
    return metric_values(task, sample, rollout)


@pytest.mark.parametrize("mode", list(PromptMode))
def test_gold_earns_full_marks(task: Task, mode: PromptMode) -> None:
    sample = row(mode=mode)
    rollout = group_of(task, sample, task.render(sample, CONVENTION)).rollouts[0]
    assert {name: score.value for name, score in rollout.scores.items()} == dict.fromkeys(task.rewards(), 1.0)
    assert rollout.reward == pytest.approx(GOLD_REWARD)
    assert set(metrics(task, sample, rollout).values()) == {1.0}


def test_the_declared_weights_and_the_headline(task: Task) -> None:
    weights = {name: spec.weight for name, spec in task.rewards().items()}
    assert weights == dict(runs=0.1, text=0.2, layout=0.1, type=0.2, color=0.2, data=0.4, image=0.2)
    assert task.metrics() == ["low_level", "executes", "data_score", "image_score"]


def test_the_same_chart_in_other_words_earns_full_marks(task: Task) -> None:
    source = (
        f"{IMPORT}import numpy as np\nfig, ax = plt.subplots()\n"
        "ax.bar(np.array(['a', 'b', 'c']), np.array([3, 1, 2]), color='#1f77b4')\n"
        "ax.set(title='Sales', ylabel='units')\nfig.savefig('chart.png')"
    )
    assert scored(task, source).reward == pytest.approx(GOLD_REWARD)


def test_each_fault_costs_its_own_part(task: Task) -> None:
    """Damaging the gold script in one way lowers that score (rules as in Chart2Code's preference pairs)."""
    damage = {
        "text": GOLD.replace("Sales", "Prices"),
        "layout": GOLD.replace(IMPORT, f"{IMPORT}plt.subplot(1, 2, 1)\n"),
        "type": GOLD.replace("plt.bar(", "plt.scatter("),
        "color": GOLD.replace("tab:blue", "tab:red"),
        "data": GOLD.replace("[3, 1, 2]", "[3, 1, 1]"),
    }
    sample = row()
    rollouts = group_of(task, sample, *map(fenced, damage.values())).rollouts
    for name, rollout in zip(damage, rollouts, strict=True):
        assert rollout.scores["runs"].value == 1
        assert rollout.scores[name].value < 1, name
        assert rollout.scores["image"].value < 1, name
        assert rollout.reward < GOLD_REWARD - 0.05, name


def test_identical_answers_get_identical_scores(task: Task) -> None:
    rollouts = group_of(task, row(), *[fenced(HONEST_WRONG)] * 3).rollouts
    assert rollouts[0].scores == rollouts[1].scores == rollouts[2].scores
    again = group_of(FOLDER.create({}), row(), fenced(HONEST_WRONG)).rollouts[0]
    assert again.scores == rollouts[0].scores


@pytest.mark.parametrize("mode", list(PromptMode))
def test_no_declared_attack_earns_anything(task: Task, mode: PromptMode) -> None:
    sample = row(mode=mode)
    declared = task.attacks(sample, CONVENTION)
    rollouts = group_of(task, sample, *(attack.text for attack in declared)).rollouts
    for attack, rollout in zip(declared, rollouts, strict=True):
        if attack.guess:
            assert rollout.reward < GOLD_REWARD / 2, attack.name
        else:
            assert rollout.reward == 0, attack.name
            assert set(metrics(task, sample, rollout).values()) == {0.0}, attack.name


def earns_nothing(task: Task, source: str) -> Rollout:
    rollout = scored(task, source)
    assert rollout.reward == 0
    assert [score.value for score in rollout.scores.values()] == [0.0] * 7
    return rollout


@pytest.mark.parametrize("name", attacks.SCRIPTS)
def test_scripts_that_draw_no_chart(task: Task, name: str) -> None:
    earns_nothing(task, attacks.SCRIPTS[name])


def test_a_script_that_fails_after_saving_earns_nothing(task: Task) -> None:
    """ChartMimic's scorer wraps scripts in try/except, so that a partial figure still scores."""
    earns_nothing(task, f"{GOLD}\nplt.savefig('chart.pdf')\nraise ValueError")


def test_what_is_drawn_after_the_first_save_counts(task: Task) -> None:
    """ChartMimic cuts scripts off at the first savefig; here the figure is the one last saved."""
    assert scored(
        task, f"{IMPORT}plt.plot([1])\nplt.savefig('a.png')\nplt.clf()\n{GOLD}\nplt.savefig('b.png')"
    ).reward == (pytest.approx(GOLD_REWARD))


def test_gold_beside_a_second_figure_earns_nothing(task: Task) -> None:
    earns_nothing(task, f"{GOLD}\nplt.figure()\nplt.plot([1, 2])")
    earns_nothing(
        task, f"plt = __import__('matplotlib.pyplot').pyplot\nplt.plot([1, 2])\nplt.show()\nplt.figure()\n{GOLD}"
    )


def test_an_empty_figure_left_open_is_no_second_chart(task: Task) -> None:
    assert scored(task, f"{IMPORT}plt.figure()\nfig, ax = plt.subplots()\n{GOLD}").reward == pytest.approx(GOLD_REWARD)


def test_all_kinds_of_charts_earn_less_than_an_honest_wrong_chart(task: Task) -> None:
    assert scored(task, attacks.EVERY_KIND).reward < scored(task, HONEST_WRONG).reward


def test_the_code_as_text_on_a_page_earns_nothing(task: Task) -> None:
    earns_nothing(task, f"{IMPORT}plt.figure().text(0.5, 0.5, {GOLD!r})")
    earns_nothing(task, f"{IMPORT}plt.text(0, 0, 'Sales')\nplt.title('Sales')\nplt.ylabel('units')")


def test_texts_with_a_stray_line_earn_less_than_an_honest_wrong_chart(task: Task) -> None:
    source = f"{IMPORT}plt.axhline(0)\nplt.title('Sales')\nplt.ylabel('units')"
    assert scored(task, source).reward < scored(task, HONEST_WRONG).reward


def test_a_picture_of_a_chart_painted_by_hand_is_not_the_chart(task: Task) -> None:
    source = f"{IMPORT}import numpy as np\nplt.imshow(np.ones((48, 64)), cmap='gray')"
    assert scored(task, source).reward < scored(task, HONEST_WRONG).reward


def test_gold_cannot_be_read_from_anywhere(task: Task, tmp_path) -> None:
    picture = tmp_path / "gold.png"
    picture.write_bytes(b"gold")
    earns_nothing(task, f"{IMPORT}plt.imshow(plt.imread({str(picture)!r}))")
    earns_nothing(task, f"{IMPORT}import urllib.request\nurllib.request.urlopen('http://127.0.0.1/gold.png')")


def test_code_in_the_thoughts_is_not_run(task: Task) -> None:
    sample = row(mode=PromptMode.THINK)
    wrong = fenced(HONEST_WRONG)
    thought = f"<think>{fenced(GOLD)}</think><answer>{wrong}</answer>"
    only_thought = f"<think>{fenced(GOLD)}</think>"
    hidden, honest, none = group_of(
        task, sample, thought, f"<think></think><answer>{wrong}</answer>", only_thought
    ).rollouts
    assert hidden.scores == honest.scores
    assert none.reward == 0


def test_a_truncated_answer_is_none(task: Task) -> None:
    assert group_of(task, row(), fenced(GOLD), finish=Finish.LENGTH).rollouts[0].reward == 0


def test_every_failure_earns_the_same(task: Task) -> None:
    """A failure must not be dearer or cheaper than another, nor cheaper than the worst success (Visual-ERM)."""
    failures = ["x = (", "1 / 0", "import os\nos._exit(0)", IMPORT, "raise SystemExit(3)"]
    rewards = {rollout.reward for rollout in group_of(task, row(), *map(fenced, failures)).rollouts}
    assert rewards == {0.0}
    worst = scored(task, f"{IMPORT}plt.pie([1])\nplt.title('no')\nplt.subplot(3, 3, 9)").reward
    assert worst > 0


def test_an_infinite_loop_is_the_scripts_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "LIMITS", Limits(wall_seconds=5, cpu_seconds=1))
    task = FOLDER.create({"workers": 1})
    rollout = scored(task, "while True: pass")
    assert rollout.reward == 0
    assert rollout.scores["runs"].value == 0
    assert task._studio.agreements(["while True: pass"], GOLD)[0].problem.startswith("timeout")


class Broken:
    """A sandbox whose first `failures` runs of a script fail through no fault of the script."""

    def __init__(self, sandbox: Sandbox, script: str, outcome: Outcome, failures: int) -> None:
        self.sandbox, self.script, self.outcome, self.failures = sandbox, script, outcome, failures

    def run(self, scripts: list[str]) -> list[Outcome]:
        outcomes = self.sandbox.run(scripts)
        for index, script in enumerate(scripts):
            if script == self.script and self.failures:
                self.failures -= 1
                outcomes[index] = self.outcome
        return outcomes


LOST = Outcome(Status.KILLED, None, "the worker that ran it was lost and has been replaced", fault=True)
UNCONFINED = Outcome(Status.REFUSED, None, "it could not be confined: no seccomp", fault=True)


def broken_task(script: str, outcome: Outcome, failures: int) -> Task:
    task = FOLDER.create({"workers": 1})
    scored(task, HONEST_WRONG)  # starts its sandbox
    task._studio._sandbox = Broken(task._studio._sandbox, script, outcome, failures)
    return task


@pytest.mark.parametrize("outcome", [LOST, UNCONFINED], ids=["lost", "refused"])
def test_a_fault_of_the_sandbox_is_unscorable_after_one_more_try(outcome: Outcome) -> None:
    script = f"{HONEST_WRONG}\n# once more"
    assert scored(broken_task(script, outcome, 1), script).scores["runs"].value == 1
    rollout = scored(broken_task(script, outcome, 2), script)
    assert all(score.value is None and outcome.message in score.unscorable for score in rollout.scores.values())
    assert rollout.reward == 0
    with pytest.raises(RuntimeError, match=outcome.message):  # evaluation counts such rows apart
        metrics(broken_task(script, outcome, 2), row(), rollout)


def test_a_row_whose_own_script_fails_is_unscorable(task: Task) -> None:
    rollout = scored(task, HONEST_WRONG, row("1 / 0"))
    assert "ZeroDivisionError" in (rollout.scores["runs"].unscorable or "")


def test_a_chart_without_numbers_has_no_data_reward(task: Task) -> None:
    gold = (
        f"{IMPORT}import numpy as np\nax = plt.figure().add_subplot(projection='3d')\n"
        "x, y = np.meshgrid([0, 1, 2], [0, 1, 2])\nax.plot_surface(x, y, x * y)"
    )
    rollout = scored(task, gold, row(gold))
    assert "no numbers" in (rollout.scores["data"].unscorable or "")
    assert rollout.reward == pytest.approx(1.0)
    assert set(metrics(task, row(gold), rollout).values()) == {1.0}


def test_a_group_is_drawn_once_and_in_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    task = FOLDER.create({"workers": 2})
    runs: list[list[str]] = []
    original = drawing.Studio.draw
    monkeypatch.setattr(
        drawing.Studio, "draw", lambda self, scripts: runs.append(list(scripts)) or original(self, scripts)
    )
    sample = row()
    group = group_of(task, sample, fenced(GOLD), fenced(HONEST_WRONG), fenced(HONEST_WRONG), "no code")
    for rollout in group.rollouts:
        metrics(task, sample, rollout)
    assert runs == [[GOLD, HONEST_WRONG]]


def test_a_script_that_draws_lots_agrees_with_itself(task: Task) -> None:
    gold = f"{IMPORT}import numpy as np\nplt.plot(np.random.default_rng().normal(size=9))"
    assert scored(task, gold, row(gold)).reward == pytest.approx(GOLD_REWARD)


def test_the_preamble_runs_before_answers_and_gold(task: Task) -> None:
    sample = replace(row("plt.bar([1, 2], [3, 1])"), extra={"preamble": f"{IMPORT}plt.axis([0, 5, 0, 10])\n"})
    rollout = group_of(task, sample, task.render(sample, CONVENTION)).rollouts[0]
    assert rollout.reward == pytest.approx(GOLD_REWARD)
    assert scored(task, "plt.bar([1, 2], [3, 1])").reward == 0


def test_drawn_rows_are_sound(task: Task) -> None:
    for sample in (task.synthetic("train", 4, 0)[i] for i in range(4)):
        gold, attack = group_of(task, sample, task.render(sample, CONVENTION), fenced("plt.pie([1])")).rollouts
        assert gold.reward == pytest.approx(GOLD_REWARD)
        assert attack.reward < GOLD_REWARD / 2
        assert "plt.axis([0, 5, 0, 10])" in task.request(sample, CONVENTION)


def test_only_recent_values_are_kept() -> None:
    recent = drawing.Recent(2)
    for key in "ab":
        recent.keep(key, key)
    assert recent.get("a") == "a"  # makes b the oldest
    recent.keep("c", "c")
    assert [recent.get(key) for key in "abc"] == ["a", None, "c"]


def test_a_task_takes_its_workers_with_it() -> None:
    import gc
    import os

    task = FOLDER.create({"workers": 1})
    before = descendants(os.getpid())
    scored(task, HONEST_WRONG)
    started = descendants(os.getpid()) - before
    assert started
    del task
    gc.collect()
    assert not started & descendants(os.getpid())


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match=r"task.options.workers is 0"):
        FOLDER.create({"workers": 0})


@pytest.mark.slow
def test_attacks_leave_the_speed_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "LIMITS", Limits(wall_seconds=5, cpu_seconds=1))
    task = FOLDER.create({"workers": 2})

    def seconds(label: str) -> float:
        scripts = [f"{GOLD}\n# {label} {number}" for number in range(24)]
        task._studio.draw(scripts[:2])
        begun = time.perf_counter()
        assert all(outcome.status is Status.OK for outcome in task._studio.draw(scripts))
        return time.perf_counter() - begun

    before = min(seconds(f"before {i}") for i in range(2))
    hostile = [
        *attacks.SCRIPTS.values(),
        "while True: pass",
        "import time\ntime.sleep(100)",
        "x = bytearray(1 << 40)",
        "open('big', 'wb').write(b'0' * (1 << 30))",
        "import os\nos.fork()",
        "import os\nos.kill(os.getppid(), 9)",
    ]
    task._studio.draw(hostile)
    assert min(seconds(f"after {i}") for i in range(2)) < 2 * before

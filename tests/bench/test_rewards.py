"""Box rewards are cheap beside everything else in a step."""

from vlmrl.bench.rewards import FUNCTIONS, SCORES, time_rewards


def test_ten_thousand_scores_take_less_than_two_seconds_of_a_core() -> None:
    timings = list(time_rewards())
    assert len(timings) == len(FUNCTIONS) + 1
    for timing in timings[:-1]:
        assert timing.scores == SCORES == 10_000
        assert timing.seconds < 2, timing
    *_, whole_task = timings
    assert whole_task.seconds < 10, whole_task  # eight components each, and parsing

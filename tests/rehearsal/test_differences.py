"""What counts as another result."""

from __future__ import annotations

from dataclasses import replace

from airflow_spot.rehearsal.differences import compare, differ, models_differ
from airflow_spot.rehearsal.observations import Reading, Scenario
from tests.rehearsal.trials import OTHER_MODEL, READING, baseline, interrupted


def test_answers_are_compared_as_texts_and_their_numbers_with_a_tolerance() -> None:
    assert not differ("7: 0.97\n", "7: 0.96\n")
    assert differ("7: 0.97\n", "7: 0.07\n")
    assert differ("cat 1\n", "dog 1\n")
    assert not differ("loss 1e-9 of 100", "loss 3e-9 of 100")
    assert differ("1 2", "1 2 3")


def test_the_same_model_needs_no_comparison() -> None:
    assert not models_differ(baseline(), [interrupted()])
    assert models_differ(baseline(), [interrupted(model=OTHER_MODEL)])
    assert compare(baseline(), None, [interrupted()], READING).unequal is None


def test_answers_tell_what_metrics_do_not() -> None:
    alone = baseline(answers="label 7\n")
    again = replace(alone, scenario=Scenario.AGAIN)
    same = interrupted(model=OTHER_MODEL, answers="label 7\n")
    other = interrupted(model=OTHER_MODEL, answers="label 3\n", scenario=Scenario.NEW_JOB)
    quiet = Reading("epoch", metrics={"none": "x(1)x"})
    assert compare(alone, again, [same], quiet).unequal == "sound, but not bit-equal: its answers are the same"
    found = compare(alone, again, [same, other], quiet)
    assert found.differs
    assert found.says == "the result differs: the model's answers"
    assert found.evidence == ("Continued in a new job: the model's answers.", "  label 3", "against", "  label 7")


def test_answers_by_chance_are_not_blamed() -> None:
    alone = baseline(answers="a\n")
    again = baseline(scenario=Scenario.AGAIN, answers="b\n", model={"model.bin": ("third", 1)})
    quiet = Reading("epoch", metrics={"none": "x(1)x"})
    assert not compare(alone, again, [interrupted(model=OTHER_MODEL, answers="c\n")], quiet).differs


def test_where_nothing_tells_how_much_it_is_not_called_sound() -> None:
    quiet = Reading("epoch", metrics={"none": "x(1)x"})
    found = compare(baseline(), baseline(scenario=Scenario.AGAIN), [interrupted(model=OTHER_MODEL)], quiet)
    assert found.unequal == "not bit-equal"
    assert found.unjudged == ("how much the models differ: --metric NAME=REGEX or --compare COMMAND tells",)


def test_no_model_is_another_result() -> None:
    found = compare(baseline(), None, [interrupted(model={})], READING)
    assert found.differs
    assert found.says == "the result differs: no model against one"


def test_a_script_without_a_model_is_compared_by_its_metrics() -> None:
    found = compare(baseline(model={}), None, [interrupted(model={}, told=lambda epoch: 0.1)], READING)
    assert found.says == "the result differs: accuracy 10.0 % against 100.0 %"
    assert "leaves nothing in /opt/ml/model" in found.unjudged[0]


def test_a_command_that_fails_is_said() -> None:
    found = compare(baseline(complaint="exit code 1: no"), None, [interrupted()], READING)
    assert found.unjudged == ("the model's answers: --compare failed with exit code 1: no",)

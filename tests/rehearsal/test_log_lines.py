"""What is read in a script's log: every way in which scripts usually count, and nothing else."""

from __future__ import annotations

import pytest

from airflow_spot.rehearsal.log_lines import (
    Line,
    choose_counter,
    counters_of,
    error_lines,
    last_metrics,
    marks,
    metric_values,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("epoch 3/20", {"epoch": 3}),
        ("Epoch 3/20 - loss: 0.25", {"epoch": 3}),
        ("Epoch: 3, Step: 120", {"epoch": 3, "step": 120}),
        ("step=100 loss=0.5", {"step": 100}),
        ("Epoch [3/20], Loss: 0.1", {"epoch": 3}),
        ("Train Epoch: 3 [640/60000 (1%)]", {"epoch": 3}),
        ("global_step=5000", {"global_step": 5000}),
        ("global step 5000", {"global_step": 5000}),
        ("iteration 7 of 10", {"iteration": 7}),
        ("iter 7: loss 3.1", {"iter": 7}),
        ("round=12 validation-mlogloss:0.25", {"round": 12}),
        ("[17]#011train-rmse:0.125", {"[]": 17}),
        ("[17]\ttrain-rmse:0.125", {"[]": 17}),
        ('{"epoch": 2, "loss": 0.5}', {"epoch": 2}),
        ('{"step": 20.0, "loss": 0.5}', {"step": 20}),
        # How many, not which.
        ("training for 20 epochs", {}),
        ("Namespace(epochs=20, lr=0.1)", {}),
        ("epoch 5/20 loss=0.1, saved to ckpt-5.pt", {"epoch": 5}),
        ("{'loss': 0.5, 'epoch': 1.0}", {"epoch": 1}),
        ("Epoch[3] Train-accuracy=0.9", {"epoch": 3}),
        ("[Epoch 3] training: accuracy=0.9", {"epoch": 3}),
        ("Epoch 3:  50%|###", {"epoch": 3}),
        ("best epoch: 7", {}),
        ("Loaded checkpoint ckpt.pt (epoch 5)", {}),
        ("--epochs 20", {}),
        # Of a checkpoint, and so of a step that was trained before.
        ("Resuming from epoch 5", {}),
        ("resume_from_round=25", {}),
        ("checkpoint_round=25 file=a", {}),
        ("saved epoch 5", {}),
        ("trained_rounds=60", {}),
        ("an epoch of change", {}),
        ("step size 0.01", {}),
        ("step: 1e-3", {}),
        ("", {}),
        ("{not json", {}),
    ],
)
def test_counters(text: str, found: dict[str, int]) -> None:
    assert counters_of(text) == found


def log(*texts: str) -> list[Line]:
    return [Line(float(i), text) for i, text in enumerate(texts)]


def test_the_counter_that_rises_over_the_whole_training_is_chosen() -> None:
    lines = log(*(f"epoch {epoch} step {step}" for epoch in (1, 2, 3) for step in (1, 2, 3, 4)))
    assert choose_counter(lines) == "epoch"
    assert choose_counter(log(*(f"epoch {step // 4} step {step}" for step in range(12)))) == "step"


def test_options_before_and_a_summary_behind_do_not_count() -> None:
    lines = log("Namespace(epoch=20)", "epoch 1", "epoch 2", "epoch 3", "epoch 2 was the one")
    assert choose_counter(lines) == "epoch"
    assert [mark.at for mark in marks(lines, "epoch")] == [1, 2, 3]
    assert [mark.at for mark in marks(lines[1:3], "epoch")] == [1, 2]


def test_one_number_alone_tells_of_no_progress() -> None:
    assert choose_counter(log("epochs=20", "done")) is None


def test_marks_are_in_the_order_of_the_log_and_a_pattern_of_the_users_goes_before() -> None:
    lines = log("epoch 1", "chapter 9", "epoch 2")
    assert [mark.at for mark in marks(lines, "epoch")] == [1, 2]
    assert [mark.at for mark in marks(lines, None, r"chapter (\d+)")] == [9]
    assert marks(lines, None) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("epoch 1 loss=0.5 accuracy=0.75", {"loss": 0.5, "accuracy": 0.75}),
        ("val_loss: 1e-3, val_acc: 0.9", {"val_loss": 0.001, "val_acc": 0.9}),
        ("[0]#011train-rmse:0.125#011validation-rmse:0.25", {"train-rmse": 0.125, "validation-rmse": 0.25}),
        ('{"epoch": 2, "eval_loss": 0.5, "lr": 0.1}', {"eval_loss": 0.5}),
        ('{"loss": NaN}', {}),
        ("epoch 3 of 4", {}),
        ("a loss of data", {}),
    ],
)
def test_metrics_by_their_usual_names(text: str, found: dict[str, float]) -> None:
    assert metric_values(text, {}) == found


def test_patterns_are_all_that_is_read_where_there_are_any() -> None:
    lines = log("quality 5 loss=1", "quality 7 loss=2")
    assert last_metrics(lines, {"q": r"quality (\d+)"}) == {"q": 7.0}
    assert last_metrics(lines, {}) == {"loss": 2.0}


def test_of_a_traceback_the_place_in_the_script_and_the_error() -> None:
    lines = log(
        "epoch 9",
        "Traceback (most recent call last):",
        '  File "/opt/ml/code/train.py", line 3, in <module>',
        "    state = json.load(file)",
        '  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode',
        "    raise JSONDecodeError",
        "json.decoder.JSONDecodeError: Expecting value",
    )
    assert error_lines(lines) == [
        'File "/opt/ml/code/train.py", line 3, in <module>',
        "json.decoder.JSONDecodeError: Expecting value",
    ]
    assert error_lines(log("a", "", "b", "c", "d")) == ["b", "c", "d"]

"""Each verdict by values, and what must not be called a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_spot.rehearsal.judge import Judgement, judge, of_markers
from airflow_spot.rehearsal.log_lines import Line
from airflow_spot.rehearsal.observations import Reading, Scenario, Start, Stored, Trial, Written
from airflow_spot.rehearsal.verdicts import FIXES, Kind
from tests.rehearsal.trials import (
    EPOCHS,
    OTHER_MODEL,
    READING,
    SIZE,
    baseline,
    failed,
    interrupted,
    kept,
    lines,
    metric,
    name,
    writes,
)


def kinds(*others: Trial, alone: Trial | None = None, reading: Reading = READING) -> list[Kind]:
    return [verdict.kind for verdict in judged(*others, alone=alone, reading=reading).verdicts]


def judged(*others: Trial, alone: Trial | None = None, reading: Reading = READING) -> Judgement:
    return judge([alone or baseline(), *others], reading)


def test_sound() -> None:
    found = judged(interrupted(), interrupted(scenario=Scenario.TERMINATED))
    assert [verdict.kind for verdict in found.verdicts] == [Kind.RESUMES]
    assert found.sound
    assert not found.unjudged
    assert found.verdicts[0].evidence == (
        "2 interruptions, and every run came to its end.",
        "A checkpoint every 1 epoch; up to 0 epochs trained again.",
    )


def test_what_was_not_uploaded_is_not_the_scripts_fault() -> None:
    """Epoch 10 is the newest in S3, and 15 was reached."""
    assert kinds(interrupted(15, 11, restored=kept(9, 10))) == [Kind.RESUMES]


def test_a_start_without_any_checkpoint_in_s3_may_begin_anew() -> None:
    assert kinds(interrupted(15, 1, restored=())) == [Kind.RESUMES]


def test_starts_from_nothing() -> None:
    found = judged(interrupted(15, 1))
    assert [verdict.kind for verdict in found.verdicts] == [Kind.STARTS_FROM_NOTHING]
    assert found.verdicts[0].says == "starts from nothing"
    assert found.verdicts[0].evidence == (
        "Killed without a warning: epoch 15 was reached; the next start (with epoch-0015.pt, written after epoch 15, "
        "restored) began with epoch 1.",
        "35 epochs were trained where 20 are enough.",
    )


def test_trains_again_what_a_checkpoint_held() -> None:
    found = judged(interrupted(17, 10, restored=kept(16, 17)), interrupted(12, 10))
    assert [verdict.kind for verdict in found.verdicts] == [Kind.REPEATS]
    assert found.verdicts[0].says == "resumes, but trains up to 8 epochs again"


def test_the_second_newest_of_rare_checkpoints_is_near_enough() -> None:
    """A checkpoint every five epochs: to resume from the one before the last may be meant."""
    rare = tuple(write for write in writes(1, EPOCHS) if int(write.key[6:10]) % 5 == 0)
    alone = baseline(writes=rare)
    assert kinds(interrupted(17, 11, restored=kept(10, 15), writes=rare), alone=alone) == [Kind.RESUMES]
    assert kinds(interrupted(17, 6, restored=kept(10, 15), writes=rare), alone=alone) == [Kind.REPEATS]


def of_two_files(epoch: int, at: float = 0.0) -> tuple[Written, ...]:
    """A checkpoint of data, and of what makes them one."""
    return tuple(
        Written(f"{epoch:04}.{kind}", at + epoch - 1 + begun, at + epoch - 0.9 + begun, SIZE)
        for kind, begun in (("data", 0.05), ("json", 0.2))
    )


def in_s3(*written: Written) -> tuple[Stored, ...]:
    return tuple(Stored(each.key, each.size, each.ended) for each in written)


@pytest.mark.parametrize(
    ("restored", "kind"),
    [
        (of_two_files(10)[:1], Kind.RESUMES),  # the kill came before the rest was in S3
        (of_two_files(10), Kind.STARTS_FROM_NOTHING),
        ((*of_two_files(5), *of_two_files(10)[:1]), Kind.STARTS_FROM_NOTHING),
    ],
    ids=["a part", "the first", "the first and a part"],
)
def test_part_of_a_checkpoint_is_none(restored: tuple[Written, ...], kind: Kind) -> None:
    written = [each for epoch in (5, 10, 15, 20) for each in of_two_files(epoch)]
    alone = baseline(writes=tuple(written), left=in_s3(*written[-4:]))
    assert kinds(interrupted(12, 1, restored=in_s3(*restored), writes=restored), alone=alone) == [kind]


def test_a_second_start_that_is_lost_at_once_has_written_no_more_than_it_trained() -> None:
    """Its log is late, and what it wrote is newer than all that the first start trained."""
    rare = tuple(write for write in writes(1, EPOCHS) if int(write.key[6:10]) % 5 == 0)
    report = Written("report.json", 30.4, 30.5, 40)
    first, second = interrupted(17, 11, restored=kept(5, 10)).starts
    at_once = replace(second, ended=30.6, code=137, lines=lines(11, 11, 30.55))
    last = replace(second, began=40.0, ended=60.0, lines=lines(11, EPOCHS, 41.0))
    last = replace(last, restored=(*kept(5, 10), *in_s3(report)))
    trial = interrupted(
        17, 11, Scenario.AT_ONCE, starts=(first, at_once, last), cuts=2, writes=(*rare[:3], report, *rare[3:])
    )
    assert kinds(trial, alone=baseline(writes=rare)) == [Kind.RESUMES]


TORN = Stored(name(16), 480, 15.1)


def torn(trial: Trial) -> Trial:
    """With a file whose write was cut off by the end of the first start."""
    cut = Written(name(16), 15.05, None, 480)
    first, *more = trial.starts
    more = [replace(start, restored=(*start.restored, TORN)) for start in more]
    return replace(
        trial, scenario=Scenario.TORN, starts=(first, *more), writes=(*trial.writes[:15], cut, *trial.writes[15:])
    )


def test_fails_at_a_torn_file() -> None:
    found = judged(torn(failed(said="ValueError: truncated")), interrupted(scenario=Scenario.KILLED))
    assert [verdict.kind for verdict in found.verdicts] == [Kind.TORN_FILE]
    verdict = found.verdicts[0]
    assert verdict.says == "fails at a torn file"
    assert "epoch-0016.pt was left with 480 bytes of some 1 kB, 2 whole files beside it" in verdict.evidence[0]
    assert verdict.evidence[1:] == ("  ValueError: truncated",)


def test_a_torn_file_that_is_passed_over_is_no_fault() -> None:
    assert kinds(torn(interrupted(15, 16))) == [Kind.RESUMES]


def test_a_torn_file_can_make_it_start_from_nothing() -> None:
    found = judged(torn(interrupted(15, 1)), interrupted())
    assert [verdict.says for verdict in found.verdicts] == ["starts from nothing at a torn file"]


def test_a_script_that_fails_at_every_resume_is_not_blamed_for_torn_files() -> None:
    found = judged(failed(), torn(failed()), failed(scenario=Scenario.NEW_JOB))
    assert [verdict.kind for verdict in found.verdicts] == [Kind.FAILS_AT_RESUME]
    assert found.verdicts[0].says == "fails at the first resume"


def test_fails_in_one_scenario_alone() -> None:
    found = judged(interrupted(), failed(scenario=Scenario.NEW_JOB))
    assert [verdict.says for verdict in found.verdicts] == ["fails at a resume: continued in a new job"]


def test_fails_without_any_interruption() -> None:
    broken = baseline(
        status="Failed", secondary="Failed", starts=(Start(0, 1, 2, (Line(0, "usage: train.py"),)),), model=None
    )
    found = judge([broken], READING)
    assert [verdict.kind for verdict in found.verdicts] == [Kind.FAILS_UNINTERRUPTED]
    assert found.verdicts[0].evidence == ("Exit code 2:", "  usage: train.py")


@pytest.mark.parametrize(
    ("error", "channel"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/input/data/train/train.csv'", "train"),
        ("KeyError: 'SM_CHANNEL_VALIDATION'", "validation"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/input/data'", None),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/opt/ml/input/data/train.csv'", None),
        ("There is nothing in /opt/ml/input/data/train.", "train"),
        ("KeyError: 'train'", None),
    ],
)
def test_a_script_without_its_data_is_told_how_to_give_it(error: str, channel: str | None) -> None:
    broken = baseline(status="Failed", secondary="Failed", starts=(Start(0, 1, 1, (Line(0, error),)),), model=None)
    *_, last = judge([broken], READING).verdicts[0].evidence
    hint = f"It reads the channel {channel!r}: is its data given (--channel {channel}=DIR), with that file in it?"
    assert last == (hint if channel else f"  {error}")


def test_fails_before_it_is_interrupted_though_not_alone() -> None:
    chance = interrupted(
        status="Failed",
        starts=(Start(0, 3, 1, (Line(0, "OSError: busy"),)),),
        cuts=0,
        model=None,
        missed="it had ended",
    )
    found = judged(chance, interrupted(scenario=Scenario.NEW_JOB))
    assert [verdict.says for verdict in found.verdicts] == ["fails at times without any interruption"]


def test_too_long_is_said_as_such() -> None:
    late = baseline(status="Stopped", secondary="MaxRuntimeExceeded", model=None)
    (verdict,) = judge([late], READING).verdicts
    assert verdict.says == "does not end within --max-run, 20.0 s"


def test_no_checkpoint() -> None:
    alone = baseline(writes=(), left=())
    found = judged(interrupted(15, 1, restored=(), writes=(), left=()), alone=alone)
    assert [verdict.says for verdict in found.verdicts] == ["no checkpoint within 20.0 s, 20 epochs"]


def test_a_checkpoint_by_sigterm_alone_is_none() -> None:
    alone = baseline(writes=(), left=())
    by_signal = interrupted(scenario=Scenario.TERMINATED, writes=writes(15, 15, 15.0))
    (verdict,) = judged(by_signal, alone=alone).verdicts
    assert verdict.kind is Kind.NO_CHECKPOINT
    assert "Only SIGTERM makes it write" in verdict.evidence[0]


def test_a_checkpoint_after_the_last_step_is_none() -> None:
    alone = baseline(writes=(Written("model.pt", 20.5, 20.6, SIZE),), left=())
    (verdict,) = judged(interrupted(15, 1, restored=(), writes=()), alone=alone).verdicts
    assert verdict.kind is Kind.NO_CHECKPOINT
    assert verdict.evidence == ("The first is written after the last epoch, 20.5 s after the start.",)


def test_keeps_everything() -> None:
    alone = baseline(left=tuple(Stored(name(epoch), 9_800_000) for epoch in range(1, EPOCHS + 1)))
    found = judged(interrupted(), alone=alone)
    assert [verdict.kind for verdict in found.verdicts] == [Kind.KEEPS_EVERYTHING, Kind.RESUMES]
    assert found.verdicts[0].says == "keeps everything: 196 MB for 20 epochs are downloaded at each start"


def test_many_files_of_one_checkpoint_are_not_many_checkpoints() -> None:
    """Eight shards, written over after each epoch; then eight in a folder of their own, of which two stay."""
    shards = [(epoch, i) for epoch in range(1, EPOCHS + 1) for i in range(8)]
    over = tuple(Written(f"shard-{i}-of-8.bin", epoch, epoch + 0.1 + i / 100, 5) for epoch, i in shards)
    alone = baseline(writes=over, left=tuple(Stored(f"shard-{i}-of-8.bin", 5) for i in range(8)))
    assert Kind.KEEPS_EVERYTHING not in kinds(interrupted(), alone=alone)
    apart = tuple(Written(f"ckpt-{epoch}/shard-{i}.bin", epoch, epoch + 0.1 + i / 100, 5) for epoch, i in shards)
    for reading in (READING, Reading()):
        alone = baseline(writes=apart, left=tuple(Stored(write.key, 5) for write in apart[-16:]))
        assert Kind.KEEPS_EVERYTHING not in kinds(interrupted(), alone=alone, reading=reading)
        alone = baseline(writes=apart, left=tuple(Stored(write.key, 5) for write in apart))
        assert Kind.KEEPS_EVERYTHING in kinds(interrupted(), alone=alone, reading=reading)


def test_does_not_end() -> None:
    late = interrupted(status="Stopped", secondary="MaxRuntimeExceeded", model=None)
    assert Kind.DOES_NOT_END in kinds(late)


def test_the_result_differs() -> None:
    worse = interrupted(model=OTHER_MODEL, told=lambda epoch: metric(epoch - 15))
    again = baseline(scenario=Scenario.AGAIN)
    found = judged(worse, again)
    assert [verdict.kind for verdict in found.verdicts] == [Kind.RESULT_DIFFERS]
    assert found.verdicts[0].says == "the result differs: accuracy 25.0 % against 100.0 %"
    assert (
        "after the resume, at epoch 16, accuracy is 5.0 %; uninterrupted it is 80.0 % there"
        in found.verdicts[0].evidence[1]
    )


def test_a_script_that_loads_less_is_told_by_its_curve_though_it_recovers() -> None:
    recovers = interrupted(model=OTHER_MODEL, told=lambda epoch: 0.05 if epoch == 16 else metric(epoch))
    assert kinds(recovers, baseline(scenario=Scenario.AGAIN)) == [Kind.LOADS_LESS]


def test_sound_but_not_bit_equal() -> None:
    near = interrupted(model=OTHER_MODEL, told=lambda epoch: metric(epoch) - 0.01)
    found = judged(near, baseline(scenario=Scenario.AGAIN))
    assert [verdict.kind for verdict in found.verdicts] == [Kind.NOT_BIT_EQUAL, Kind.RESUMES]
    assert found.sound
    assert found.verdicts[0].says == "sound, but not bit-equal: accuracy 99.0 % against 100.0 %"


def test_chance_is_not_blamed() -> None:
    """Two uninterrupted runs are 8 % apart, and so is the interrupted one."""
    luck = baseline(
        scenario=Scenario.AGAIN,
        model={"model.bin": ("third", 10)},
        starts=(Start(0.0, 20.0, 0, lines(1, EPOCHS, told=lambda epoch: metric(epoch) - 0.08)),),
    )
    worse = interrupted(model=OTHER_MODEL, told=lambda epoch: metric(epoch) - 0.1)
    found = judged(worse, luck)
    assert found.sound
    assert found.verdicts[0].says == "sound, but not bit-equal: two uninterrupted runs differ, too"


def test_an_interruption_that_did_not_come_is_said() -> None:
    found = judged(interrupted(missed="the script had ended before"))
    assert found.unjudged == ("killed without a warning: the script had ended before",)


def test_a_log_without_numbers_proves_no_resume() -> None:
    found = judged(interrupted(), reading=Reading())
    assert not found.verdicts
    assert "the log has no number of a step or epoch" in found.unjudged[0]


def test_the_worst_comes_first() -> None:
    alone = baseline(left=kept(*range(1, EPOCHS + 1)))
    found = kinds(interrupted(17, 10), failed(scenario=Scenario.NEW_JOB), alone=alone)
    assert found == [Kind.FAILS_AT_RESUME, Kind.REPEATS, Kind.KEEPS_EVERYTHING]


def test_marker_files_are_the_cause_where_the_fault_goes_with_them() -> None:
    trial = failed(said="ValueError: epoch-0015.pt.sagemaker-uploaded")
    with_them, without = judged(trial).verdicts, judged(interrupted()).verdicts
    found = of_markers(with_them, trial, interrupted(), without, READING)
    assert found is not None
    assert found.kind is Kind.MARKER_FILES
    assert found.says.startswith("takes marker files for checkpoints: fails at the first resume")
    assert of_markers(with_them, trial, trial, with_them, READING) is None
    never_interrupted = interrupted(starts=interrupted().starts[:1], cuts=0)
    assert of_markers(with_them, trial, never_interrupted, without, READING) is None


def test_every_fault_has_a_fix() -> None:
    assert set(FIXES) == set(Kind)
    assert all(FIXES[kind] for kind in Kind if kind.is_fault)


def test_a_start_that_counts_anew_and_trains_what_is_missing_does_not_start_from_nothing() -> None:
    """The log of xgboost.train with xgb_model begins with [0] each time."""
    trial = interrupted(at=15, resumes_at=1)
    first, second = trial.starts
    missing = replace(second, lines=lines(1, EPOCHS - 15, second.began))
    anew = replace(trial, starts=(first, missing))
    assert Kind.STARTS_FROM_NOTHING not in kinds(anew)
    found = judged(anew)
    assert [verdict.kind for verdict in found.verdicts] == [Kind.RESUMES]
    assert any("each start counts from the beginning" in line for line in found.unjudged)
    assert not any("trained again" in line for verdict in found.verdicts for line in verdict.evidence)
    assert Kind.STARTS_FROM_NOTHING in kinds(trial)

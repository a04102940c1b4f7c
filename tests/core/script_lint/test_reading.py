"""What is read: the script, what it imports from beside it, comments that silence, and what cannot be read."""

from __future__ import annotations

import time
from textwrap import dedent

import pytest

from airflow_spot.core.script_lint import lint
from airflow_spot.core.script_lint.digits import reads_one_digit
from tests.core.script_lint.cases import SOUND, changed, look, rules

SAVE = 'torch.save(state, path + ".part")\n    os.replace(path + ".part", path)'
IN_PLACE = changed(SAVE, "torch.save(state, path)")


def test_modules_beside_the_script_are_followed() -> None:
    script = """
        from lib import checkpoints
        import settings
        begin = checkpoints.resume(settings.FOLDER)
        for epoch in range(begin, 10):
            loss.backward()
            checkpoints.write(settings.FOLDER, epoch)
    """
    beside = {
        "settings.py": "FOLDER = '/opt/ml/checkpoints'\n",
        "lib/__init__.py": "",
        "lib/checkpoints.py": """
            import os, torch
            from .names import name_of
            def resume(folder):
                return torch.load(os.path.join(folder, "last.pt"))["epoch"]
            def write(folder, epoch):
                torch.save({"epoch": epoch}, os.path.join(folder, name_of(epoch)))
        """,
        "lib/names.py": "def name_of(epoch):\n    return f'{epoch:06}.pt'\n",
        "unused.py": "this is not Python",
    }
    report = look(script, beside)
    assert [(each.rule, each.path, each.line) for each in report.findings] == [
        ("writes-in-place", "lib/checkpoints.py", 7)
    ]
    assert set(report.files) == {"train.py", "settings.py", "lib/__init__.py", "lib/checkpoints.py", "lib/names.py"}
    assert report.unreadable == ()


def test_a_script_in_a_folder_imports_what_is_beside_it() -> None:
    sources = {"src/train.py": b"import folders\n", "src/folders.py": b"A = 1\n", "folders.py": b"A = 2\n"}
    assert lint(sources, "src/train.py").files == ("src/train.py", "src/folders.py")


def test_a_module_that_cannot_be_read_is_named_and_the_rest_is_looked_at() -> None:
    report = look(IN_PLACE + "\nimport old\n", {"old.py": "print 'Python 2'\n"})
    assert [each.rule for each in report.findings] == ["writes-in-place"]
    assert [each.path for each in report.unreadable] == ["old.py"]


@pytest.mark.parametrize(
    "text",
    [
        b"print 'Python 2'\n",
        b"#!/bin/bash\necho a && python train.py\n",
        b"\xff\xfe\x00",
        b"x = \x00",
        b"def f(:\n",
        b"(" * 5000,
    ],
)
def test_what_cannot_be_read_is_no_crash(text: bytes) -> None:
    report = lint({"train.py": text}, "train.py")
    assert report.findings == ()
    assert [each.path for each in report.unreadable] == ["train.py"]
    assert report.unreadable[0].why


def test_what_is_nested_too_deeply_is_no_crash() -> None:
    report = lint({"train.py": b"x = " + b"+".join([b"1"] * 20_000) + b"\n"}, "train.py")
    assert report.findings == ()


def test_an_empty_script_has_no_finding() -> None:
    assert lint({"train.py": b""}, "train.py").findings == ()


def test_a_comment_silences_a_rule_on_its_line() -> None:
    assert rules(IN_PLACE) == ["writes-in-place"]
    assert rules(changed(SAVE, "torch.save(state, path)  # airflow-spot: ignore[writes-in-place]")) == []
    assert rules(changed(SAVE, "torch.save(state, path)  # airflow-spot: ignore[one-digit, writes-in-place]")) == []
    assert (
        rules(
            changed(SAVE, "torch.save(\n        state,\n        path,\n    )  # airflow-spot: ignore[writes-in-place]")
        )
        == []
    )


def test_a_comment_silences_no_other_rule_and_no_other_line() -> None:
    assert rules(changed(SAVE, "torch.save(state, path)  # airflow-spot: ignore[one-digit]")) == ["writes-in-place"]
    assert rules(IN_PLACE + "\n# airflow-spot: ignore[writes-in-place]\n") == ["writes-in-place"]
    assert rules(changed(SAVE, 'torch.save(state, path); x = "# airflow-spot: ignore[writes-in-place]"')) == [
        "writes-in-place"
    ]


def test_another_folder_of_the_job_is_the_one_that_counts() -> None:
    script = SOUND.replace("FOLDER", "CHECKPOINT_DIR").replace(
        'os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")', '"/mnt/work"'
    )
    assert rules(script) == ["no-checkpoint-path"]
    assert rules(script, folder="/mnt/work/") == []


@pytest.mark.parametrize(
    "pattern", [r"(\d)", r"epoch-(\d)\.h5", r"[0-9]", r"(\.*[0-9])(?=\.)", r".*(\d)", r"(?P<n>\d)$"]
)
def test_one_digit(pattern: str) -> None:
    assert reads_one_digit(pattern)


@pytest.mark.parametrize(
    "pattern", [r"(\d+)", r"\d*", r"(\d{4})", r"\d\d", r"[0-9]+", r"(.*[0-9])\.", r"v2-(\d+)", r"[a-z]", r"\w+\d", ""]
)
def test_several_digits(pattern: str) -> None:
    assert not reads_one_digit(pattern)


def test_hundreds_of_classes_with_methods_of_one_name_take_seconds() -> None:
    one = """
        def save_{0}(model, step):
            path = os.path.join("/opt/ml/checkpoints", "m%d.pt" % step)
            torch.save(model.state_dict(), path + ".tmp")
            os.replace(path + ".tmp", path)
        class Model{0}(Base):
            def __init__(self):
                super().__init__()
            def save(self, step):
                save_{0}(self.model, step)
                self.run(step)
            def run(self, epochs):
                for epoch in range(epochs):
                    self.save(epoch)
    """
    begin = time.process_time()
    report = look("import os, torch\n" + "".join(dedent(one).format(number) for number in range(400)))
    assert report.files == ("train.py",)
    assert time.process_time() - begin < 5  # a good second; each class more made it longer for all others


def test_a_script_that_nobody_wrote_by_hand_is_not_looked_at() -> None:
    report = look("TABLE = [" + "1, " * 200_000 + "]\n")
    assert [(each.path, each.why) for each in report.unreadable] == [("train.py", "it has more than 500 kB")]
    report = look(IN_PLACE + "\nimport table\n", {"table.py": "TABLE = [" + "1, " * 200_000 + "]\n"})
    assert [each.rule for each in report.findings] == ["writes-in-place"]
    assert [each.path for each in report.unreadable] == ["table.py"]

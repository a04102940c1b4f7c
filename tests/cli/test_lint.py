"""``airflow-spot lint``: what it prints, its exit codes, and that the examples are clean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_spot.cli.main import main
from tests.core.script_lint.cases import SOUND, changed

ROOT = Path(__file__).parent.parent.parent
SAVE = 'torch.save(state, path + ".part")\n    os.replace(path + ".part", path)'
IN_PLACE = changed(SAVE, "torch.save(state, path)")
LINE = IN_PLACE.splitlines().index("    torch.save(state, path)") + 1


@pytest.mark.parametrize("script", sorted((ROOT / "dags" / "scripts").glob("*.py")), ids=lambda path: path.name)
def test_nothing_is_found_in_the_examples(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(script)]) == 0
    assert capsys.readouterr().out == f"{script}: nothing found\n"


@pytest.mark.parametrize("script", ["scripts/steps.py", "chaos/script/steps.py"])
def test_nothing_is_found_in_the_tests_scripts(script: str) -> None:
    assert main(["lint", str(ROOT / "tests" / script)]) == 0


def test_a_finding_is_printed_with_its_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.py"
    script.write_text(IN_PLACE)
    assert main(["lint", str(script)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{script}:{LINE}: writes-in-place: a checkpoint is written straight to its final name")
    assert second.startswith("    write to a name of its own")


def test_nothing_found_is_never_called_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.py"
    script.write_text(SOUND + "\nimport beside\n")
    (tmp_path / "beside.py").write_text("")
    assert main(["lint", str(script)]) == 0
    assert capsys.readouterr().out == f"{script}: nothing found, with 1 module beside it\n"


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.py"
    script.write_text(IN_PLACE)
    assert main(["lint", str(script), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["scripts"]
    assert found["script"] == str(script)
    assert found["files"] == ["train.py"] and found["unreadable"] == []
    (finding,) = found["findings"]
    assert (finding["rule"], finding["file"], finding["line"]) == ("writes-in-place", "train.py", LINE)
    assert finding["message"] and finding["fix"]


@pytest.mark.parametrize("text", ["print 'Python 2'\n", None])
def test_what_cannot_be_read_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    bad, good = tmp_path / "bad.py", tmp_path / "train.py"
    if text is not None:
        bad.write_text(text)
    good.write_text(IN_PLACE)
    assert main(["lint", str(good), str(bad)]) == 2
    printed = capsys.readouterr()
    assert "writes-in-place" in printed.out  # the other one is looked at
    assert "bad.py" in printed.err and "could not be read: " in printed.err
    assert "Traceback" not in printed.err


def test_a_script_below_its_source_folder(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("from lib.run import main\nmain()\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "run.py").write_text(IN_PLACE)
    script = str(tmp_path / "src" / "train.py")
    assert main(["lint", script, "--source-dir", str(tmp_path)]) == 1
    assert main(["lint", script]) == 0  # what it imports is not there
    assert main(["lint", script, "--source-dir", str(tmp_path / "lib")]) == 2


def test_the_job_s_own_folder_and_arguments(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--where', default='/opt/ml/model')\n"
        "args = parser.parse_args()\nfor epoch in range(3):\n    save(args.where + '/new')\n"
    )
    assert main(["lint", str(script)]) == 1
    assert main(["lint", str(script), "--argument", "where"]) in (0, 1)
    script.write_text("for step in range(9):\n    open('/mnt/kept/a.tmp', 'w')\nopen('/mnt/kept/a')\n")
    assert main(["lint", str(script)]) == 1
    assert main(["lint", str(script), "--checkpoint-local-path", "/mnt/kept"]) == 0


def test_a_link_that_leads_to_itself_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.py"
    script.symlink_to(script)
    assert main(["lint", str(script)]) == 2
    assert "could not be read" in capsys.readouterr().err

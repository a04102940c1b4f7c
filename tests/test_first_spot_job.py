"""docs/first-spot-job.md, followed: its files are written, its commands run, and what they print is what it shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_spot.local import LocalSageMaker

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "first-spot-job.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: As in a new account, and what AWS grants.
NOTHING, GRANTED = "ml.g*=0", "ml.g4dn.xlarge:spot=1;ml.g*=0"
#: What a command says of a question that had no answer in time.
UNANSWERED = "no answer within"
#: A line of the page that stands for any number of printed lines.
LEFT_OUT = "..."
KEY = re.compile(r"-afspot-([a-z2-7]{10})-")
#: What is another one each time, in any output.
IDS = {
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00)?": "TIME",
    r"-[a-z2-7]{8}(?=/)": "-HASH",
}
SPAN = r"(\d+ min )?\d+(\.\d+)? s(?!\w)"
#: Numbers that move, by the beginning of the command that prints them.
MOVING = {
    "airflow-spot rehearse": {
        r"\d+(\.\d+)?( trained twice)?": "N",
        r"(, N)+$": "",
        r"N interruptions?": "N interruptions",
    },
    "airflow-spot advise": {r"\d+\.\d+-\d+\.\d+ USD": "N USD", r"about \d+\.\d+ USD": "about N USD"},
    "airflow dags": {SPAN: "N s", r"\d+\.\d+ (%|USD)": r"N \1"},
    "airflow-spot history": {SPAN: "N s", r"\d+\.\d+ %": "N %"},
}


def plain(text: str, command: str) -> list[str]:
    """Return the lines of an output, without what is another one each time."""
    if key := KEY.search(text):
        text = text.replace(key[1], "RUNKEY")
    moving = next((rules for start, rules in MOVING.items() if command.startswith(start)), {})
    for pattern, instead in {**IDS, **moving}.items():
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    # Columns are as wide as their widest cell.
    return [re.sub(r"(?<=\S) {2,}", "  ", line.rstrip()) for line in text.splitlines()]


def assert_printed(shown: str, printed: str, command: str) -> None:
    """
    Fail unless the page shows what was printed: line by line, but for lines that it leaves out.

    Of Airflow's log the page shows some lines, in order, and of those the message alone.
    """
    of_log = command.startswith("airflow ")
    left, skipping = plain(printed, command), of_log
    for line in plain(shown, command):
        if line == LEFT_OUT:
            skipping = True
            continue
        nth = next((nth for nth, other in enumerate(left) if line == other or (of_log and line in other)), None)
        assert nth is not None and (skipping or nth == 0), f"{command}: the page shows {line!r}; printed:\n{printed}"
        left, skipping = left[nth + 1 :], of_log
    assert skipping or not left, f"{command} also prints {left}"


class Reader:
    """
    Somebody who follows the page, in a folder of their own.

    :ivar key: of the run that the last command began.
    """

    def __init__(self, folder: Path, local: LocalSageMaker) -> None:
        self.folder, self.key = folder, ""
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))},
            **local.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL": "1",
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        }

    def write(self, code: str) -> None:
        """Write a file; its first line names it."""
        name = re.match(r"# (\S+\.py)\n", code)
        assert name is not None, f"no name of a file in {code[:80]!r}"
        path = self.folder / name[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)

    def run(self, commands: str) -> str:
        """Run commands in a shell; return what they print, the run's key of the page's being theirs."""
        if self.key:
            commands = KEY.sub(f"-afspot-{self.key}-", commands)
        for _ in range(3):
            done = subprocess.run(
                ["bash", "-c", commands],
                check=False,
                cwd=self.folder,
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=600,
            )
            # What asks AWS in passing asks once, for three seconds. A service that stands still so long is asked again,
            # and what was kept of that forgotten.
            asks = done.returncode != 0 or commands.startswith("airflow-spot ")
            if not asks or UNANSWERED not in done.stdout + done.stderr:
                break
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        assert done.returncode == 0, f"{commands}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        if key := KEY.search(done.stdout):
            self.key = key[1]
        return done.stdout


def steps(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield the page's blocks in order: ``python`` or ``bash``, the text, and what it shows of the output."""
    blocks = [(match[1], match[2]) for match in BLOCK.finditer(page)]
    for (kind, text), after in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind != "text":
            yield kind, text, after[1] if after[0] == "text" else ""


@pytest.fixture
def account(tmp_path: Path) -> Iterator[LocalSageMaker]:
    """An account in which nothing is: but for AWS's own image."""
    with LocalSageMaker(quotas=NOTHING) as local:
        ecr = local.client("ecr")
        ecr.create_repository(repositoryName="pytorch-training")
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
        (tag,) = set(re.findall(r"pytorch-training:([\w.-]+)", PAGE.read_text()))
        ecr.put_image(repositoryName="pytorch-training", imageManifest=json.dumps(manifest), imageTag=tag)
        yield local


@pytest.mark.slow
def test_the_page_leads_to_a_job(account: LocalSageMaker, tmp_path: Path) -> None:
    reader, begun = Reader(tmp_path, account), 0
    for kind, text, shown in steps(PAGE.read_text()):
        if kind == "python":
            reader.write(text)
        elif not text.startswith("pip install"):
            if text.startswith("airflow "):
                reader.run("airflow db migrate")
                begun = len(account.audit)
            assert_printed(shown, reader.run(text), text)
        if text == "python raise_quota.py\n":
            account.set_quotas(GRANTED)
        if text.startswith("airflow "):
            # The policy that the page makes for the worker has what its task calls (S3 and ECR are not in this log).
            lines = [line for line in account.audit[begun:] if line["event"] == "call"]
            called = {call if ":" in call else f"sagemaker:{call}" for call in (line["operation"] for line in lines)}
            policy = json.loads((tmp_path / "worker.json").read_text())
            allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
            assert "sagemaker:CreateTrainingJob" in called and "servicequotas:ListServiceQuotas" in called
            assert called <= allowed
    (job,) = account.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    assert job["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("a\n", "b\n"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("a\n...\nc\n", "a\nb\n"),
        ("a\n...\nb\n", "a\nb\nc\n"),
        ("...\nb\na\n...\n", "a\nb\nc\n"),
        ("a 0.5 USD\n", "a 0.6 USD\n"),
        ("", "a\n"),
    ],
)
def test_a_page_that_shows_something_else_fails(shown: str, printed: str) -> None:
    with pytest.raises(AssertionError):
        assert_printed(shown, printed, "airflow-spot check dag.py")


def test_a_log_has_the_lines_in_order() -> None:
    with pytest.raises(AssertionError):
        assert_printed("two\none\n", "one [logger]\ntwo [logger]\n", "airflow dags test")


@pytest.mark.parametrize(
    ("shown", "printed", "command"),
    [
        ("a\n...\nc\n", "a\nb\nc\n", "airflow-spot check"),
        ("a\n...\nc\n", "a\nc\n", "airflow-spot check"),
        ("a\n...\n", "a\n", "airflow-spot check"),
        ("one\nthree\n", "2026 [info] one [logger]\ntwo\n2026 [info] three [logger]\n", "airflow dags test"),
        ("j-afspot-aaaaaaaaaa-1-1 4 s\n", "j-afspot-bbbbbbbbbb-1-1 5 s\n", "airflow-spot history"),
        ("2026-11-29 00:42:05 a  b\n", "2027-11-29 00:42:05 a    b\n", "airflow-spot check"),
    ],
)
def test_what_differs_each_time_does_not_count(shown: str, printed: str, command: str) -> None:
    assert_printed(shown, printed, command)

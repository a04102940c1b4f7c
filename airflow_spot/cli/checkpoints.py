"""``airflow-spot checkpoints``: take the newest checkpoint out of a folder, so that no job resumes from it."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from typing import Any

from airflow_spot.cli.aws import CommandError, add_session_arguments, client, guarded
from airflow_spot.core.sizes import human_bytes
from airflow_spot.core.suspect import StoredCheckpoint

_EXAMPLES = """examples:
  airflow-spot checkpoints set-aside s3://bucket/checkpoints/.../g0001 --dry-run   tell which it is
  airflow-spot checkpoints set-aside s3://bucket/checkpoints/.../g0001             move it

A task that fails straight after a restore names the folder. What is set aside goes to set-aside/ beside the folder;
nothing is lost. Then clear the task: it resumes from the checkpoint before, or begins again where there is none.
Exit code: 0; 1 if the folder has no checkpoint; 2 if something is wrong, such as a live job that writes there."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "checkpoints",
        help="set a damaged checkpoint aside",
        description="Deals with the checkpoints in a folder.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    aside = actions.add_parser(
        "set-aside",
        help="move the newest checkpoint out of the folder",
        description="Moves the newest checkpoint out of a folder, to set-aside/ beside it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    aside.add_argument("folder", help="the folder of the checkpoints: s3://bucket/path/g0001")
    aside.add_argument("--dry-run", action="store_true", help="tell which it is, and move nothing")
    aside.add_argument("--force", action="store_true", help="do not ask SageMaker whether a live job writes there")
    aside.add_argument("--json", action="store_true", help="print JSON")
    add_session_arguments(aside)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("checkpoints", lambda: _set_aside(args))


def _set_aside(args: argparse.Namespace) -> int:
    from airflow_spot.aws.set_aside import find_newest, set_aside, target_of

    s3, now = client(args, "s3"), datetime.now(timezone.utc)
    found = find_newest(s3, args.folder)
    if found is None:
        print(json.dumps({"objects": [], "target": None}) if args.json else f"There is no checkpoint in {args.folder}")
        return 1
    if not args.force and not args.dry_run:
        _check_unused(args)
    target = target_of(args.folder, now) if args.dry_run else set_aside(s3, args.folder, found, now)
    if args.json:
        keys = [each.key for each in found.objects]
        print(json.dumps({"objects": keys, "target": target, "moved": not args.dry_run}))
        return 0
    for line in _lines(args, found, target):
        print(line)
    return 0


def _lines(args: argparse.Namespace, found: StoredCheckpoint, target: str) -> list[str]:
    folder = args.folder.rstrip("/")
    bucket = folder.removeprefix("s3://").partition("/")[0]
    size = human_bytes(sum(each.size for each in found.objects))
    what = f"{len(found.objects)} object{'' if len(found.objects) == 1 else 's'}, {size}"
    lines = [
        f"s3://{bucket}/{each.key}, written {each.written:%Y-%m-%d %H:%M:%S} UTC, {human_bytes(each.size)}"
        for each in found.objects
    ]
    if args.dry_run:
        return [*lines, f"{what}: would go to {target}. Without --dry-run it is done"]
    back = f"aws s3 mv --recursive {target} {folder}"
    return [*lines, f"{what}: moved to {target}", f"To undo it: {back}", "Clear the task: it resumes from what is left"]


def _check_unused(args: argparse.Namespace) -> None:
    """Refuse while a live job of ours uses the folder: it would upload what it has restored again."""
    from airflow_spot.aws.live_folders import LiveFolders
    from airflow_spot.core.retention import overlaps

    sagemaker = client(args, "sagemaker")
    for name, uri in LiveFolders(lambda: sagemaker).look().items():
        if overlaps(args.folder, uri):
            raise CommandError(f"training job {name} is live and uses {uri}. Wait for its end, or stop it first")

"""``airflow-spot gc``: delete checkpoint folders that no run will resume from."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.cli.aws import add_session_arguments, client, guarded, table
from airflow_spot.core.durations import human, seconds
from airflow_spot.core.retention import CheckpointFolder, lifecycle_configuration, overlaps, to_delete
from airflow_spot.core.sizes import human_bytes

_EXAMPLES = """examples:
  airflow-spot gc --base s3://bucket/checkpoints --older-than 30d             list what would be deleted
  airflow-spot gc --base s3://bucket/checkpoints --older-than 30d --delete    delete it
  airflow-spot gc --base s3://bucket/checkpoints --older-than 30d --lifecycle  S3's own rule, as JSON

Never deleted: the folder of a live job, and what is not <namespace>/<dag>/<task>/<run key>/g<generation> with an
object beside it that proves whose it is.
A run that waits between two jobs has no live job: choose an age above the duration of any run.
Exit code: 0, or 2 if something is wrong."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "gc",
        help="delete old checkpoints",
        description="Lists old checkpoint folders of runs, and deletes them with --delete.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", required=True, help="the folder of the checkpoints: s3://bucket/path")
    parser.add_argument("--older-than", required=True, help="minimum age since the last change of a folder: 30d, 12h")
    parser.add_argument("--keep-newest", type=int, default=0, help="keep so many of each task's folders; default: 0")
    parser.add_argument("--delete", action="store_true", help="delete them; without it they are only listed")
    parser.add_argument("--lifecycle", action="store_true", help="print an S3 lifecycle configuration instead")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("gc", lambda: _lifecycle(args) if args.lifecycle else _collect(args))


def _lifecycle(args: argparse.Namespace) -> int:
    # Rounded up: a rule that deletes later than asked loses nothing.
    days = -(-seconds("--older-than", args.older_than) // 86_400)
    print(json.dumps(lifecycle_configuration(args.base, days), indent=2))
    return 0


def _collect(args: argparse.Namespace) -> int:
    from airflow_spot.aws.checkpoint_store import prefixes, remove
    from airflow_spot.aws.live_folders import LiveFolders

    older_than = timedelta(seconds=seconds("--older-than", args.older_than))
    if args.keep_newest < 0:
        raise ValueError(f"--keep-newest {args.keep_newest}: give 0 or more")
    s3, sagemaker, now = client(args, "s3"), client(args, "sagemaker"), datetime.now(timezone.utc)
    live = LiveFolders(lambda: sagemaker)
    print(f"Listing {args.base} ...", file=sys.stderr)
    folders = prefixes(s3, args.base)
    # Jobs after folders: one that was created in between is seen.
    used = list(live.look().values())
    chosen = to_delete(folders, used, now, older_than=older_than, keep_newest=args.keep_newest)
    gone, kept = [], {}
    if args.delete:
        for number, (folder, why) in enumerate(remove(live, s3, chosen), 1):
            if why is None:
                gone.append(folder)
            else:
                kept[folder] = why
            print(f"{number} of {len(chosen)}: {folder.uri} {'deleted' if why is None else why}", file=sys.stderr)
    if args.json:
        facts = [_facts(folder, now, folder in gone) | {"kept": kept.get(folder)} for folder in chosen]
        print(json.dumps({"folders": len(folders), "old": facts}, indent=2))
        return 0
    rows = [(one.uri, str(one.objects), human_bytes(one.bytes), _age(one, now)) for one in chosen]
    if rows:
        print("\n".join(table([("folder", "objects", "size", "unchanged for"), *rows])))
    total = human_bytes(sum(one.bytes for one in (gone if args.delete else chosen)))
    if args.delete:
        print(f"{len(gone)} of {len(folders)} folders deleted, {total}")
    else:
        print(f"{len(chosen)} of {len(folders)} folders would be deleted, {total}. Add --delete to do it")
    for folder, why in kept.items():
        print(f"{folder.uri} was kept: {why}")
    if in_live := sum(any(overlaps(folder.uri, uri) for uri in used) for folder in folders):
        print(f"{in_live} folders are of live jobs")
    return 0


def _facts(folder: CheckpointFolder, now: datetime, deleted: bool) -> dict[str, Any]:
    return {
        "uri": folder.uri,
        "objects": folder.objects,
        "bytes": folder.bytes,
        "newest": folder.newest.isoformat(),
        "age_seconds": int((now - folder.newest).total_seconds()),
        "deleted": deleted,
    }


def _age(folder: CheckpointFolder, now: datetime) -> str:
    age = (now - folder.newest).total_seconds()
    return f"{age // 86_400:.0f} days" if age >= 2 * 86_400 else human(age)

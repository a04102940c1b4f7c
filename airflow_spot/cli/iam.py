"""``airflow-spot iam``: print least-privilege IAM policies."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from airflow_spot.cli.aws import table
from airflow_spot.core.iam.permissions import DEFAULT_FEATURES, FEATURES, Need, Who
from airflow_spot.core.iam.policy_documents import Names, check_features, check_names, needs_of, policy, trust_policy
from airflow_spot.core.parameter_errors import InvalidParameterError

_EXAMPLES = """examples:
  airflow-spot iam                                          all policies of an ordinary task, with placeholders
  airflow-spot iam --who worker --account 123456789012 --region eu-central-1 --output s3://my-bucket/out
  airflow-spot iam --features core,checkpoints,logs,events --who triggerer
  airflow-spot iam --who worker,triggerer                   one policy, where one role is both, as on MWAA
  airflow-spot iam --trust                                  the trust policy of the training's role
  airflow-spot iam --explain                                which call needs what, and what is lost without it

Without --features: {defaults}. "core" is always there.
Exit code: 0, or 2 if an option is wrong.

features:
{features}"""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    width = max(map(len, FEATURES))
    parser = subparsers.add_parser(
        "iam",
        help="print least-privilege IAM policies",
        description="Prints a least-privilege policy for each caller of AWS, as one JSON object, or one of them. It "
        "calls nothing.",
        epilog=_EXAMPLES.format(
            defaults=", ".join(DEFAULT_FEATURES),
            features="\n".join(f"  {name.ljust(width)}  needed {when}" for name, when in FEATURES.items()),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--features", metavar="A,B,...", help="what is used; 'all' for everything; see below")
    parser.add_argument(
        "--who",
        metavar="A,B,...",
        help=f"print this policy alone, of one role that is all of these: {', '.join(who.value for who in Who)}",
    )
    parser.add_argument("--trust", action="store_true", help="print the trust policy of the training job's role alone")
    parser.add_argument("--explain", action="store_true", help="print a table of calls and permissions instead")
    parser.add_argument("--json", action="store_true", help="print JSON, as without --explain; with it, the table")
    names = parser.add_argument_group("names", "Values not given are printed in CAPITALS.")
    names.add_argument("--account", default=Names.account, help="the AWS account, 12 digits")
    names.add_argument("--region", default=Names.region, help="the AWS region of the jobs")
    names.add_argument("--role-arn", default="", help="the role of the training jobs")
    names.add_argument("--output", default=Names.output, metavar="S3_URI", help="OutputDataConfig.S3OutputPath")
    names.add_argument(
        "--data", action="append", metavar="S3_URI", help="where channels are, or S3Operations write; repeatable"
    )
    names.add_argument("--checkpoints", default="", metavar="S3_URI", help="default: checkpoints below --output")
    names.add_argument("--code", default="", metavar="S3_URI", help="code_location; default: code below --output")
    names.add_argument("--model", default=Names.model, metavar="S3_URI", help="the folder of model_s3_uri")
    names.add_argument("--namespace", default="", help="[airflow_spot] namespace: only its part of the checkpoints")
    names.add_argument("--queue-arn", default="", help="of the queue of events_queue_url")
    names.add_argument("--repository-arn", default="", help="of the image's repository in ECR")
    names.add_argument("--key-arn", default="", help="of the KMS key")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    try:
        features, chosen = _features(args.features), _who(args.who)
        if args.trust and (args.explain or (args.who and chosen != [Who.TRAINING])):
            raise InvalidParameterError("--trust", True, "cannot be combined with --who or --explain")
        names = Names(
            account=args.account,
            region=args.region,
            role_arn=args.role_arn,
            output=args.output,
            data=tuple(args.data or Names.data),
            checkpoints=args.checkpoints,
            code=args.code,
            model=args.model,
            namespace=args.namespace,
            queue_arn=args.queue_arn,
            repository_arn=args.repository_arn,
            key_arn=args.key_arn,
        )
        check_names(names)
    except InvalidParameterError as error:
        print(f"airflow-spot iam: {error}", file=sys.stderr)
        return 2
    if args.trust:
        print(json.dumps(trust_policy(), indent=2))
        return 0
    if args.explain:
        _explain(chosen, features, as_json=args.json)
        return 0
    if args.who:
        print(json.dumps(policy(chosen, features, names), indent=2))
        return 0
    policies = {who.value: policy(who, features, names) for who in chosen}
    print(json.dumps({who: document for who, document in policies.items() if document["Statement"]}, indent=2))
    return 0


def _who(given: str | None) -> list[Who]:
    if given is None:
        return list(Who)
    known = [who.value for who in Who]
    names = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise InvalidParameterError("--who", unknown[0], f"choose from {', '.join(known)}")
    if not names:
        raise InvalidParameterError("--who", given, f"choose from {', '.join(known)}")
    return [who for who in Who if who.value in names]


def _features(given: str | None) -> tuple[str, ...]:
    if given is None:
        return check_features(DEFAULT_FEATURES)
    if given == "all":
        return tuple(FEATURES)
    return check_features(name.strip() for name in given.split(",") if name.strip())


def _explain(chosen: list[Who], features: tuple[str, ...], *, as_json: bool) -> None:
    found = [(who, need) for who in chosen for need in needs_of(who, features)]
    if as_json:
        print(json.dumps([_facts(who, need) for who, need in found], indent=2))
        return
    head = ("who", "feature", "call", "permission", "on", "without it")
    rows = [
        (
            who.value,
            need.feature,
            need.call.partition(":")[2] or "(SageMaker, the script)",
            ", ".join(need.actions) or "(none)",
            ", ".join(need.places) or "-",
            need.without or f"required {FEATURES[need.feature]}",
        )
        for who, need in found
    ]
    print("\n".join(table([head, *rows])))


def _facts(who: Who, need: Need) -> dict[str, Any]:
    return {
        "who": who.value,
        "feature": need.feature,
        "call": need.call or None,
        "actions": list(need.actions),
        "on": list(need.places),
        "required": need.required,
        "without": need.without or None,
    }

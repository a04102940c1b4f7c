"""The role of the training job: it is there, SageMaker may take it, and it may do what the job does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_spot.preflight.asking import Answer, Asker
from airflow_spot.preflight.findings import PreflightFinding, Severity, not_checked
from airflow_spot.preflight.wanted import Place, Wanted

SERVICE = "sagemaker.amazonaws.com"
_MISSING = ("NoSuchEntity", "NoSuchEntityException")
#: Kind of a place -> what a job does there, and on what.
_ACTIONS = {
    "s3:GetObject": ("data", "checkpoints"),
    "s3:PutObject": ("output", "checkpoints"),
    "s3:ListBucket": ("data", "checkpoints"),
}
_LOST = {
    "s3:GetObject": "the job cannot read what is there",
    "s3:PutObject": "nothing that the job makes is kept there",
    "s3:ListBucket": "the job cannot see what is there",
}


def check_credentials(ask: Asker, wanted: Wanted) -> tuple[list[PreflightFinding], bool]:
    """Return findings about who asks, and whether AWS takes the credentials at all."""
    answer = ask.ask("sts:GetCallerIdentity")
    return judge_credentials(answer, wanted.role)


def judge_credentials(answer: Answer, role: str) -> tuple[list[PreflightFinding], bool]:
    """Return what GetCallerIdentity tells: findings, and whether the other checks make sense."""
    if answer.bad_credentials or "credentials" in answer.why:
        fix = "log in again, or renew the credentials of the Airflow connection"
        return [PreflightFinding("credentials", Severity.FAIL, "credentials", answer.code, answer.why, fix)], False
    if answer.why:
        return [not_checked("credentials", "credentials", "", answer.why)], True
    account, of_role = str(answer.value.get("Account") or ""), account_of(role)
    if of_role and account and of_role != account:
        why = f"the credentials are of account {account}, and a role can be passed in its own account only"
        fix = f"name a role of account {account}, or use credentials of {of_role}"
        return [PreflightFinding("credentials", Severity.FAIL, "RoleArn", role, why, fix)], True
    return [], True


def check_role(ask: Asker, wanted: Wanted) -> list[PreflightFinding]:
    """Return what is wrong with the role."""
    if not wanted.role:
        return []
    name = wanted.role.rpartition("/")[2]
    answer = ask.ask("iam:GetRole", RoleName=name)
    found = [] if answer.skipped else list(judge_role(answer, wanted.role))
    if any(each.severity is Severity.FAIL for each in found) or (not answer.known and not answer.skipped):
        return found
    arn = str((answer.value.get("Role") or {}).get("Arn") or wanted.role)
    if arn.startswith("arn:"):
        found += _check_rights(ask, arn, wanted)
    return found


def judge_role(answer: Answer, role: str) -> Iterator[PreflightFinding]:
    """Yield what GetRole tells."""
    if answer.code in _MISSING:
        why = "there is no such role: SageMaker refuses the job"
        fix = "create it, or name another; `airflow-spot iam --who training` prints its policy"
        yield PreflightFinding("role", Severity.FAIL, "RoleArn", role, why, fix)
    elif answer.why:
        yield not_checked("role", "RoleArn", role, answer.why)
    elif not trusts((answer.value.get("Role") or {}).get("AssumeRolePolicyDocument"), SERVICE):
        why = f"its trust policy does not let {SERVICE} take it: SageMaker refuses the job"
        fix = f'add a statement to its trust relationships: Allow, sts:AssumeRole, Principal {{"Service": "{SERVICE}"}}'
        yield PreflightFinding("role", Severity.FAIL, "RoleArn", role, why, fix)


def trusts(document: Any, service: str) -> bool:
    """Return whether a trust policy lets a service take the role; what conditions say is not looked at."""
    if isinstance(document, str):
        import json
        from urllib.parse import unquote

        try:
            document = json.loads(unquote(document))
        except ValueError:
            return False
    statements = document.get("Statement") if isinstance(document, Mapping) else None
    allowed = False
    for each in statements if isinstance(statements, list) else [statements]:
        if not isinstance(each, Mapping):
            continue
        actions, principal = _listed(each.get("Action")), each.get("Principal")
        services = _listed(principal.get("Service")) if isinstance(principal, Mapping) else _listed(principal)
        concerns = {"sts:AssumeRole", "sts:*", "*"} & set(actions) and {service, "*"} & set(services)
        if concerns and each.get("Effect") == "Deny" and not each.get("Condition"):
            return False
        allowed = allowed or bool(concerns and each.get("Effect") == "Allow")
    return allowed


def _check_rights(ask: Asker, arn: str, wanted: Wanted) -> list[PreflightFinding]:
    found: list[PreflightFinding] = []
    partition = arn.split(":")[1]
    for action, kinds in _ACTIONS.items():
        places = [place for place in wanted.places if place.kind in kinds]
        by_arn = {_resource(partition, action, place): place for place in reversed(places)}
        if not by_arn:
            continue
        answer = ask.ask(
            "iam:SimulatePrincipalPolicy",
            PolicySourceArn=arn,
            ActionNames=[action],
            ResourceArns=sorted(by_arn),
        )
        if answer.skipped:
            return found
        if answer.why:
            return [*found, not_checked("role", "RoleArn", arn, f"what it may do: {answer.why}")]
        found += judge_rights(answer, arn, action, by_arn)
    return found


def judge_rights(answer: Answer, arn: str, action: str, places: Mapping[str, Place]) -> Iterator[PreflightFinding]:
    """
    Yield what SimulatePrincipalPolicy does not allow.

    What no policy of the role allows or denies is a warning: a bucket's policy, which is not seen here, may allow it.
    Source: "Policy evaluation logic" in IAM's user guide.

    :param places: by ARN.
    """
    for each in answer.value.get("EvaluationResults") or ():
        decisions = {str(each.get("EvalResourceName")): each.get("EvalDecision")}
        for one in each.get("ResourceSpecificResults") or ():
            decisions[str(one.get("EvalResourceName"))] = one.get("EvalResourceDecision")
        for resource, decision in decisions.items():
            if decision != "allowed" and (place := places.get(resource)) is not None:
                why = f"{action} on {resource}, for {place.field}: {_LOST[action]}"
                if decision == "explicitDeny":
                    fix = f"take out what denies it {action} there: no other policy outweighs that"
                    yield PreflightFinding("role", Severity.FAIL, "RoleArn", arn, f"IAM denies it {why}", fix)
                else:
                    why = f"IAM does not allow it {why}, unless the bucket's policy allows it"
                    fix = f"allow it {action} there, in its own policy or in the bucket's"
                    yield PreflightFinding("role", Severity.WARN, "RoleArn", arn, why, fix)


def account_of(arn: str) -> str:
    """Return the account of an ARN; empty where it is none."""
    parts = arn.split(":")
    return parts[4] if len(parts) > 5 and parts[0] == "arn" else ""


def _resource(partition: str, action: str, place: Place) -> str:
    if action == "s3:ListBucket":
        return f"arn:{partition}:s3:::{place.bucket}"
    # Simulated for an object: a folder's own name is none.
    folder = place.key if place.key.endswith("/") or not place.key else f"{place.key}/"
    return f"arn:{partition}:s3:::{place.bucket}/{folder}object"


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, (list, tuple)) else [str(value)]

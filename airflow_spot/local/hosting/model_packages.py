"""The model registry: groups of model packages, whose versions count up, and what a model takes from one."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.ignored import ignored_members, log_ignored
from airflow_spot.local.api.pagination import in_order, select
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.aws.events import MODEL_PACKAGE
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import ServiceError, validation
from airflow_spot.local.state_changes import publish_event
from airflow_spot.local.storage.store import Kind, R

PENDING, APPROVED = "PendingManualApproval", "Approved"
_IGNORED = ("ValidationSpecification", "CertifyForMarketplace", "SecurityConfig", "ModelCard", "DriftCheckBaselines")
#: What UpdateModelPackage puts in the place of what was there.
_UPDATED = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "ModelPackageRegistrationType",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
)
_SUMMARY = (
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
)


@dataclass
class ModelPackageGroup:
    """
    A group of versions of a model.

    :ivar versions: how many it has had: a number is not used again.
    """

    region: str
    name: str
    request: dict[str, Any]
    creation_time: float
    versions: int = 0

    @property
    def arn(self) -> str:
        return MODEL_PACKAGE_GROUPS.arn(self.region, self.name)

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeModelPackageGroup."""
        return {
            **self.request,
            "ModelPackageGroupArn": self.arn,
            "CreationTime": self.creation_time,
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
        }


@dataclass
class ModelPackage:
    """
    A version in a group, or a package by itself.

    :ivar name: ``group/1``, or its own name.
    :ivar request: the body of its Create call, as later updates changed it.
    :ivar group: the group's name; empty for one by itself.
    """

    region: str
    name: str
    request: dict[str, Any]
    creation_time: float
    token: str | None = None
    group: str = ""
    version: int = 0
    modified: float | None = None

    @property
    def arn(self) -> str:
        return MODEL_PACKAGES.arn(self.region, self.name)

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeModelPackage."""
        names: dict[str, Any] = {"ModelPackageName": self.name}
        if self.group:  # no name that the model's pattern lets pass [A]
            names = {"ModelPackageGroupName": self.group, "ModelPackageVersion": self.version}
        return {
            **self.request,
            **names,
            "ModelPackageArn": self.arn,
            "CreationTime": self.creation_time,
            "CreatedBy": {},
            **({"LastModifiedTime": self.modified, "LastModifiedBy": {}} if self.modified is not None else {}),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        }

    @property
    def containers(self) -> list[dict[str, Any]]:
        """What it says of its containers."""
        found: list[dict[str, Any]] = self.request.get("InferenceSpecification", {}).get("Containers", [])
        return found


MODEL_PACKAGE_GROUPS = Kind[ModelPackageGroup]("model-package-group", "Model package group")
MODEL_PACKAGES = Kind[ModelPackage]("model-package", "Model package")


def _last_name(given: str, kind: str) -> str:
    """Return the name in what may be a name or an ARN."""
    return given.partition(f":{kind}/")[2] or given


def _find(backend: Backend, kind: Kind[R], region: str, given: str, name: str) -> R | None:
    table = backend.store.table(kind)
    # ARNs are in lower case.
    return table.find(region, name) or next((each for each in table.list(region) if each.arn == given), None)


def find_group(backend: Backend, region: str, given: str) -> ModelPackageGroup:
    """Return a group by its name or ARN.

    :raises ServiceError: ValidationException. Its words are [A].
    """
    name = _last_name(given, MODEL_PACKAGE_GROUPS.arn_type)
    found = _find(backend, MODEL_PACKAGE_GROUPS, region, given, name)
    if found is None:
        raise validation(f"ModelPackageGroup {MODEL_PACKAGE_GROUPS.arn(region, name)} does not exist.")
    return found


def find_package(backend: Backend, region: str, given: str) -> ModelPackage:
    """Return a package by its ARN or its name, that of a version with its number; raises as :func:`find_group` does."""
    name = _last_name(given, MODEL_PACKAGES.arn_type)
    found = _find(backend, MODEL_PACKAGES, region, given, name)
    if found is None:
        raise validation(f"ModelPackage {MODEL_PACKAGES.arn(region, name)} does not exist.")
    return found


def package_container(backend: Backend, region: str, container: dict[str, Any]) -> dict[str, Any]:
    """Return the container of a model that names a package, with what the package says of it.

    :raises ServiceError: ValidationException, if a version is not approved [D that it must be, A for the words].
    """
    package = find_package(backend, region, container["ModelPackageName"])
    if package.group and package.request["ModelApprovalStatus"] != APPROVED:
        raise validation(
            f"Model package {package.arn} has the approval status {package.request['ModelApprovalStatus']}: "
            "it must be Approved to be deployed."
        )
    if len(package.containers) != 1:
        raise validation(
            f"Model package {package.arn} has {len(package.containers)} containers; Local SageMaker deploys only "
            "those of one"
        )
    for member in ("Image", "ModelDataUrl", "ModelDataSource"):
        if member in container:
            raise validation(f"{member} and ModelPackageName are mutually exclusive")
    of_package = copy.deepcopy(package.containers[0])
    variables = {**of_package.get("Environment", {}), **container.get("Environment", {})}
    return {**of_package, **container, **({"Environment": variables} if variables else {})}


def create_model_package_group(backend: Backend, call: Call) -> dict[str, Any]:
    request = copy.deepcopy(call.params)
    tags = to_dict(request.pop("Tags", []))
    made = ModelPackageGroup(call.region, request["ModelPackageGroupName"], request, backend.clock.now())
    try:
        backend.store.table(MODEL_PACKAGE_GROUPS).add(made)
    except ServiceError:
        # The Amazon provider of Airflow looks for these words.
        raise validation(f"Model Package Group already exists: {made.arn}") from None
    if tags:
        backend.store.tags[made.arn] = tags
    return {"ModelPackageGroupArn": made.arn}


def describe_model_package_group(backend: Backend, call: Call) -> dict[str, Any]:
    return find_group(backend, call.region, call.params["ModelPackageGroupName"]).describe(backend.clock.now())


def delete_model_package_group(backend: Backend, call: Call) -> dict[str, Any]:
    table, packages = backend.store.table(MODEL_PACKAGE_GROUPS), backend.store.table(MODEL_PACKAGES)
    # The packages' lock comes first, as where one is made: in the other order two calls would wait for each other.
    with packages.lock, table.lock:
        gone = find_group(backend, call.region, call.params["ModelPackageGroupName"])
        if any(each.group == gone.name for each in packages.list(call.region)):
            raise ServiceError("ConflictException", f"Model package group {gone.arn} still contains model packages.")
        table.pop(call.region, gone.name)
        backend.store.tags.pop(gone.arn, None)
    return {}


def create_model_package(backend: Backend, call: Call) -> dict[str, Any]:
    request = copy.deepcopy(call.params)
    token, tags = request.pop("ClientToken", None), to_dict(request.pop("Tags", []))
    named, group_name = request.pop("ModelPackageName", None), request.pop("ModelPackageGroupName", None)
    if (named is None) == (group_name is None):
        raise validation("You must provide either ModelPackageName or ModelPackageGroupName, and not both.")
    if "SourceAlgorithmSpecification" in request:
        raise validation(
            "SourceAlgorithmSpecification is not implemented by Local SageMaker; use InferenceSpecification"
        )
    if not request.get("InferenceSpecification"):
        raise validation("InferenceSpecification is required: Local SageMaker makes no packages of other sources")
    table = backend.store.table(MODEL_PACKAGES)
    with table.lock:
        for each in table.list(call.region):
            if token is not None and each.token == token:
                return {"ModelPackageArn": each.arn}  # the same call again: its answer was lost
        now = backend.clock.now()
        if group_name is None:
            made = ModelPackage(call.region, str(named), request, now, token)
            if "ModelApprovalStatus" in request:
                raise validation("ModelApprovalStatus does not apply to a model package without a group.")
            try:
                table.add(made)
            except ServiceError:
                raise validation(f"Model Package already exists: {made.arn}") from None
            if tags:
                backend.store.tags[made.arn] = tags
        else:
            if tags:
                raise validation("Tags cannot be given to a versioned model package: it has those of its group.")
            group = find_group(backend, call.region, group_name)
            request.setdefault("ModelApprovalStatus", PENDING)
            group.versions += 1
            name = f"{group.name}/{group.versions}"
            made = ModelPackage(call.region, name, request, now, token, group.name, group.versions)
            table.add(made)
    publish_event(backend, MODEL_PACKAGE, made)
    log_ignored(backend.audit, "model package", made.name, ignored_members(request, _IGNORED))
    return {"ModelPackageArn": made.arn}


def describe_model_package(backend: Backend, call: Call) -> dict[str, Any]:
    return find_package(backend, call.region, call.params["ModelPackageName"]).describe(backend.clock.now())


def update_model_package(backend: Backend, call: Call) -> dict[str, Any]:
    params = call.params
    with backend.store.table(MODEL_PACKAGES).lock:
        package = find_package(backend, call.region, params["ModelPackageArn"])
        if not package.group and "ModelApprovalStatus" in params:
            raise validation("ModelApprovalStatus does not apply to a model package without a group.")
        changed = dict(package.request)
        changed.update({name: copy.deepcopy(params[name]) for name in _UPDATED if name in params})
        metadata = {**changed.get("CustomerMetadataProperties", {}), **params.get("CustomerMetadataProperties", {})}
        for name in params.get("CustomerMetadataPropertiesToRemove", ()):
            metadata.pop(name, None)
        if metadata or "CustomerMetadataProperties" in changed:
            changed["CustomerMetadataProperties"] = metadata
        more = params.get("AdditionalInferenceSpecificationsToAdd", [])
        if more:
            changed["AdditionalInferenceSpecifications"] = [
                *changed.get("AdditionalInferenceSpecifications", ()),
                *copy.deepcopy(more),
            ]
        package.request, package.modified = changed, backend.clock.now()
    publish_event(backend, MODEL_PACKAGE, package)
    return {"ModelPackageArn": package.arn}


def delete_model_package(backend: Backend, call: Call) -> dict[str, Any]:
    table = backend.store.table(MODEL_PACKAGES)
    with table.lock:
        gone = find_package(backend, call.region, call.params["ModelPackageName"])
        table.pop(call.region, gone.name)
        backend.store.tags.pop(gone.arn, None)
    return {}


def list_model_packages(backend: Backend, call: Call) -> dict[str, Any]:
    params = call.params
    group = params.get("ModelPackageGroupName")
    wanted = params.get("ModelPackageType") or ("Versioned" if group else "Unversioned")
    name = find_group(backend, call.region, group).name if group else None
    now = backend.clock.now()
    found = [
        {member: value for member, value in each.describe(now).items() if member in _SUMMARY}
        for each in backend.store.table(MODEL_PACKAGES).list(call.region)
        if (wanted == "Both" or (wanted == "Versioned") == bool(each.group))
        and name in (None, each.group)
        and params.get("ModelApprovalStatus") in (None, each.request.get("ModelApprovalStatus"))
    ]
    shown, token = in_order(select(found, params, _searched), call, _fields)
    return {"ModelPackageSummaryList": shown, **token}


def _searched(line: dict[str, Any]) -> dict[str, Any]:
    # A version's number is no part of a name, let alone the zeros that sort it.
    return {**_fields(line), "Name": line.get("ModelPackageGroupName") or line["ModelPackageName"]}


def _fields(line: dict[str, Any]) -> dict[str, Any]:
    # Of one moment the later version comes last: by its number, not by its text.
    name = f"{line.get('ModelPackageGroupName') or line['ModelPackageName']}/{line.get('ModelPackageVersion', 0):09}"
    return {"Name": name, "CreationTime": line["CreationTime"], "LastModifiedTime": line["CreationTime"]}


OPERATIONS: Operations = {
    "CreateModelPackageGroup": create_model_package_group,
    "DescribeModelPackageGroup": describe_model_package_group,
    "DeleteModelPackageGroup": delete_model_package_group,
    "CreateModelPackage": create_model_package,
    "DescribeModelPackage": describe_model_package,
    "UpdateModelPackage": update_model_package,
    "DeleteModelPackage": delete_model_package,
    "ListModelPackages": list_model_packages,
}

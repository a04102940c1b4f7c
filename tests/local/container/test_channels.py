"""Input channels: what of S3 a container finds, and what cannot be read."""

from __future__ import annotations

import gzip
import json
import uuid
from typing import Any

import pytest

from tests.local.jobs import BUCKET, Jobs

LISTING = """
    import json, os
    found = {}
    for folder, _, names in os.walk("/opt/ml/input/data"):
        for name in names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, "/opt/ml/input/data")] = open(path).read()
    os.makedirs("/opt/ml/model", exist_ok=True)
    with open(f"/opt/ml/model/{os.environ['SM_CURRENT_HOST']}.json", "w") as file:
        json.dump(found, file)
"""


def channel(name: str, uri: str, kind: str = "S3Prefix", **more: Any) -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": uri}
    if "Distribution" in more:
        source["S3DataDistributionType"] = more.pop("Distribution")
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more}


def resources(count: int = 1, instance_type: str = "ml.m5.large") -> dict[str, Any]:
    return {"InstanceType": instance_type, "InstanceCount": count, "VolumeSizeInGB": 1}


def data_seen(jobs: Jobs, name: str) -> dict[str, dict[str, str]]:
    return {key.removesuffix(".json"): json.loads(text) for key, text in jobs.model(name).items()}


def test_kinds_of_channels(jobs: Jobs) -> None:
    root = f"channels/{uuid.uuid4().hex}"
    for key, text in {"a/one": "1", "a/sub/two": "2", "b": "b", "list/x": "x", "list/y": "y"}.items():
        jobs.put(f"{root}/{key}", text)
    manifest = jobs.put(f"{root}/m", json.dumps([{"prefix": f"s3://{BUCKET}/{root}/list/"}, "x", "y"]))
    packed = jobs.put(f"{root}/packed/data.csv.gz", gzip.compress(b"1,2"))
    job = jobs.run(
        LISTING,
        InputDataConfig=[
            channel("folder", f"s3://{BUCKET}/{root}/a", InputMode="FastFile"),
            channel("object", f"s3://{BUCKET}/{root}/b"),
            channel("manifest", manifest, "ManifestFile"),
            channel("gzip", packed, CompressionType="Gzip"),
        ],
    )
    assert data_seen(jobs, job["TrainingJobName"]) == {
        "algo-1": {
            "folder/one": "1",
            "folder/sub/two": "2",
            "object/b": "b",
            "manifest/x": "x",
            "manifest/y": "y",
            "gzip/data.csv": "1,2",
        }
    }


@pytest.mark.parametrize(
    ("body", "kind", "more", "reason"),
    [
        ("{}", "ManifestFile", {}, "is not a manifest"),
        ('[{"prefix": "s3://bucket/none/"}, "x"]', "ManifestFile", {}, "Data download failed"),
        ('[{"prefix": "s3://bucket/"}, "../x"]', "ManifestFile", {}, "'../x'"),
        ("plain", "S3Prefix", {"CompressionType": "Gzip"}, "is not gzip"),
        ("x", "AugmentedManifestFile", {}, "AugmentedManifestFile is not implemented"),
    ],
)
def test_channels_that_cannot_be_read(jobs: Jobs, body: str, kind: str, more: dict[str, str], reason: str) -> None:
    uri = jobs.put(f"bad/{uuid.uuid4().hex}/file", body)
    job = jobs.run("pass", InputDataConfig=[channel("bad", uri, kind, **more)])
    assert job["FailureReason"].startswith("ClientError: ")
    assert reason in job["FailureReason"]


def test_sharded_data_and_one_model_of_all_hosts(jobs: Jobs) -> None:
    root = f"shards/{uuid.uuid4().hex}"
    for number in range(5):
        jobs.put(f"{root}/{number}", str(number))
    uri = f"s3://{BUCKET}/{root}"
    job = jobs.run(
        LISTING,
        ResourceConfig=resources(2),
        InputDataConfig=[channel("part", uri, Distribution="ShardedByS3Key"), channel("all", uri)],
    )
    seen = list(data_seen(jobs, job["TrainingJobName"]).values())
    parts = [{key for key in data if key.startswith("part/")} for data in seen]
    assert sorted(map(len, parts)) == [2, 3]
    assert not parts[0] & parts[1]
    assert [len(data) for data in seen] == [len(part) + 5 for part in parts]

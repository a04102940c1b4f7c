"""An inference script of a user: adds the model's steps to each number."""

import json
from pathlib import Path


def model_fn(model_dir):
    return json.loads(Path(model_dir, "model.json").read_text())["steps"]


def input_fn(body, content_type):
    assert content_type == "application/json"
    return json.loads(body)


def predict_fn(data, model):
    return [number + model for number in data]


def output_fn(prediction, accept):
    return json.dumps(prediction)

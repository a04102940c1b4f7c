"""SageMaker training script in the older style: every path is hard-coded, and nothing is imported but Python's own.

It keeps its checkpoints by itself, as scripts do that were written before there was a library: a file is written under
another name and renamed, the newest that can be read is taken, by its number, and the newest two stay.
"""

import csv
import glob
import json
import math
import os
import random
import re

HYPERPARAMETERS = "/opt/ml/input/config/hyperparameters.json"
TRAINING = "/opt/ml/input/data/training"
CHECKPOINTS = "/opt/ml/checkpoints"
MODEL = "/opt/ml/model"
KEEP = 2


def hyperparameters():
    """Return what the job was given, over the defaults; SageMaker passes texts."""
    with open(HYPERPARAMETERS) as file:
        given = json.load(file)
    return int(given.get("epochs", 20)), float(given.get("learning_rate", 0.1)), int(given.get("seed", 0))


def rows_of(folder, seed):
    """Read every CSV file of the channel, the label first; without one, make data up."""
    paths = sorted(glob.glob(folder + "/*.csv"))
    if not paths:
        drawn = random.Random(seed)
        features = [[drawn.gauss(0, 1) for _ in range(20)] for _ in range(1000)]
        return [([1.0] + row, float(row[0] + row[1] - row[2] > 0)) for row in features]
    found = []
    for path in paths:
        with open(path) as file:
            found += [([1.0] + [float(text) for text in row[1:]], float(row[0])) for row in csv.reader(file)]
    return found


def checkpoints():
    """Return the numbers and paths of the checkpoints, newest first."""
    found = [(re.match(r"^checkpoint-(\d+)\.json$", name), name) for name in os.listdir(CHECKPOINTS)]
    numbered = [(int(match.group(1)), os.path.join(CHECKPOINTS, name)) for match, name in found if match]
    return sorted(numbered, reverse=True)


def save(epoch, weights):
    """Write a checkpoint so that a reader sees all of it or nothing, and drop the oldest."""
    path = "%s/checkpoint-%d.json" % (CHECKPOINTS, epoch)
    with open(path + ".tmp", "w") as file:
        json.dump({"epoch": epoch, "weights": weights}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".tmp", path)
    for _, old in checkpoints()[KEEP:]:
        os.remove(old)


def load():
    """Return the epochs that are done and the weights of the newest checkpoint that can be read."""
    for _, path in checkpoints():
        try:
            with open(path) as file:
                state = json.load(file)
        except ValueError:
            print("passing over %s: it was cut off" % path)
        else:
            return state["epoch"], state["weights"]
    return 0, None


def main():
    """Train a logistic regression, from the newest checkpoint on."""
    epochs, rate, seed = hyperparameters()
    rows = rows_of(TRAINING, seed)
    os.makedirs(CHECKPOINTS, exist_ok=True)
    first, weights = load()
    weights = weights or [0.0] * len(rows[0][0])
    # The log shows where each start resumes from.
    print("FROM %d" % first, flush=True)
    for epoch in range(first, epochs):
        # The order follows from the epoch, so that it is the same after a resume.
        order, loss = list(range(len(rows))), 0.0
        random.Random(seed * 100003 + epoch).shuffle(order)
        for index in order:
            row, label = rows[index]
            answer = 1 / (1 + math.exp(-sum(weight * value for weight, value in zip(weights, row))))
            loss -= math.log(max(answer if label else 1 - answer, 1e-12))
            step = rate * (label - answer)
            weights = [weight + step * value for weight, value in zip(weights, row)]
        print("epoch=%d loss=%.6f" % (epoch + 1, loss / len(rows)), flush=True)
        save(epoch + 1, weights)
    with open(MODEL + "/model.json", "w") as file:
        json.dump({"weights": weights}, file)


if __name__ == "__main__":
    main()

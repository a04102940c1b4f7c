"""SageMaker training script (script mode): MXNet's Gluon that resumes from its newest checkpoint after an interruption.

MXNet is retired; AWS's container for it has Python 3.8 and MXNet 1.9. Parameters and the trainer's states are two files
of one checkpoint: both are there, or none.
"""

import argparse
import os

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from airflow_spot.checkpoint import Checkpointer


def parse_args():
    """Read the hyperparameters, which script mode passes as arguments, and the places SageMaker names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch_size", type=int, default=50)
    parser.add_argument("--learning_rate", type=float, default=0.002)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model_dir", default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
    return parser.parse_args()


def load(folder, seed):
    """Read ``train.csv`` of the channel, no header and the label first; without one, make data up."""
    if folder:
        rows = np.loadtxt(os.path.join(folder, "train.csv"), delimiter=",", ndmin=2).astype("float32")
        return rows[:, 1:], rows[:, 0]
    drawn = np.random.RandomState(seed)
    labels = drawn.randint(10, size=2000).astype("float32")
    return (drawn.normal(size=(2000, 64)) + labels[:, None] * drawn.normal(size=64) / 4).astype("float32"), labels


def build(learning_rate):
    """Return a network and its trainer."""
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(64, activation="relu"), gluon.nn.Dense(10))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    return net, gluon.Trainer(net.collect_params(), "adam", {"learning_rate": learning_rate})


def main():
    """Train what is missing, save the model."""
    args = parse_args()
    mx.random.seed(args.seed)
    np.random.seed(args.seed)  # what initializers draw from
    features, labels = load(args.train, args.seed)
    net, trainer = build(args.learning_rate)
    net(mx.nd.array(features[:1]))  # the shapes follow from the data: only then there are parameters to load
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()

    def write(path):
        os.makedirs(path)
        net.save_parameters(os.path.join(path, "net.params"))
        trainer.save_states(os.path.join(path, "trainer.states"))

    def read(path):
        net.load_parameters(os.path.join(path, "net.params"))
        trainer.load_states(os.path.join(path, "trainer.states"))

    checkpoints = Checkpointer()
    found = checkpoints.load(read)
    first = found.step if found else 0
    checkpoints.on_sigterm()
    # The log shows where each start resumes from.
    print(f"FROM {first}", flush=True)
    for epoch in range(first, args.epochs):
        # The order follows from the epoch, so that it is the same after a resume.
        order = np.random.RandomState(args.seed + epoch).permutation(len(features))
        metric, total = mx.metric.Accuracy(), 0.0
        for at in range(0, len(order), args.batch_size):
            chosen = order[at : at + args.batch_size]
            batch, target = mx.nd.array(features[chosen]), mx.nd.array(labels[chosen])
            with autograd.record():
                answers = net(batch)
                loss = loss_of(answers, target)
            loss.backward()
            trainer.step(len(chosen))
            metric.update([target], [answers])
            total += float(loss.sum().asscalar())
        scores = {"loss": total / len(order), "accuracy": metric.get()[1]}
        print(f"epoch={epoch + 1} loss={scores['loss']:.5f} accuracy={scores['accuracy']:.4f}", flush=True)
        checkpoints.save(epoch + 1, write, scores)
        checkpoints.progress(epoch + 1, args.epochs, scores)
    os.makedirs(args.model_dir, exist_ok=True)
    net.export(os.path.join(args.model_dir, "model"))


if __name__ == "__main__":
    main()

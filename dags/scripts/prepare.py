"""SageMaker Processing script: scikit-learn's handwritten digits, split and scaled into CSV files.

Writes ``train/train.csv``, ``validation/validation.csv`` and ``test/test.csv`` below the output folder, in
the form SageMaker's XGBoost expects: no header, the label (0-9) first, then 64 pixels. The data set ships
with scikit-learn, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler


def parse_args() -> argparse.Namespace:
    """Read the job's ContainerArguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--validation-fraction", type=float, default=0.15)
    parser.add_argument("--test-fraction", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def main() -> None:
    """Split the data with the same share of every digit in each part, scale it, and write it."""
    args = parse_args()
    pixels, labels = load_digits(return_X_y=True)
    held_out = args.validation_fraction + args.test_fraction
    x_train, x_rest, y_train, y_rest = train_test_split(
        pixels, labels, test_size=held_out, random_state=args.seed, stratify=labels
    )
    x_validation, x_test, y_validation, y_test = train_test_split(
        x_rest, y_rest, test_size=args.test_fraction / held_out, random_state=args.seed, stratify=y_rest
    )

    # Fitted on the training part only: what the other parts look like must not leak into training.
    scaler = MinMaxScaler().fit(x_train)
    parts = {
        "train": (x_train, y_train),
        "validation": (x_validation, y_validation),
        "test": (x_test, y_test),
    }
    for name, (x, y) in parts.items():
        path = args.output_dir / name / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, np.column_stack([y, scaler.transform(x)]), delimiter=",", fmt="%.6g")
        print(f"{name}: {len(y)} rows -> {path}", flush=True)


if __name__ == "__main__":
    main()

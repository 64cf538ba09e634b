"""Input and hidden units that gates keep of a 784-300-100-10 network on MNIST, and its error.

    .venv/bin/python benchmarks/mnist.py FOLDER [epochs]

Needs the four files of MNIST in the folder, in the IDX format, compressed with gzip or not:
train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte.
Prints the architecture beside those that Louizos, Welling and Kingma (2018) publish in Table 1:
the first with one penalty for all weights, as here, the second with one for each layer.
"""

import gzip
import math
import struct
import sys
import zlib
from pathlib import Path

import torch
from gated_networks import Examples, Trained, TrainingPlan, train_dense, train_gated
from torch import Tensor

SIZES = (784, 300, 100, 10)
EPOCHS, SEED = 200, 0
# the paper's lambda of an expected open weight, to be divided by the number of training images;
# a gate costs as many as the weights it multiplies
WEIGHT_COST = 0.1
PUBLISHED = (("paper, one penalty", "219-214-100", "1.4"), ("paper, by layer", "266-88-33", "1.8"))
# third byte of an IDX file: the type of its values
UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"


class IdxError(ValueError):
    """A file that is missing or is not what an IDX file of MNIST should be."""


def main(folder: Path, epochs: int) -> None:
    train, test = _examples(folder, "train"), _examples(folder, "t10k")
    plan = _plan(epochs, images=len(train.classes))
    print(f"{'network':<20}{'kept':>14}{'test error %':>14}{'parameters':>12}{'flops':>10}")
    for name, training in (("dense", train_dense), ("gated", train_gated)):
        trained = training(SIZES, train, test, plan=plan, seed=SEED)
        print(f"{name:<20}{_cells(trained)}", flush=True)
    for name, kept, error in PUBLISHED:
        print(f"{name:<20}{kept:>14}{error:>14}")


def _plan(epochs: int, *, images: int) -> TrainingPlan:
    return TrainingPlan(
        epochs=epochs,
        settled_epochs=epochs // 4,
        batch_size=100,
        learning_rate=1e-3,
        gate_learning_rate=1e-2,
        gate_costs=tuple(WEIGHT_COST / images * outputs for outputs in SIZES[1:]),
        init_sparsity=0.2,
        temperatures=(2 / 3, 2 / 3),
    )


def _cells(trained: Trained) -> str:
    kept = "-".join(map(str, trained.kept))
    error = 100 * (1 - trained.accuracy)
    return f"{kept:>14}{error:>14.2f}{trained.parameters:>12}{trained.flops:>10}"


def _examples(folder: Path, part: str) -> Examples:
    images_path = _find(folder, f"{part}-images-idx3-ubyte")
    labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
    images, labels = _read_idx(images_path, dimensions=3), _read_idx(labels_path, dimensions=1)
    if math.prod(images.shape[1:]) != SIZES[0]:
        raise IdxError(
            f"{images_path} holds images of shape {tuple(images.shape[1:])}, but the network "
            f"takes {SIZES[0]} pixels, 28 x 28."
        )
    if len(images) != len(labels):
        raise IdxError(
            f"{images_path} holds {len(images)} images, but {labels_path} holds {len(labels)} "
            "labels: take both from the same release."
        )
    if labels.max() >= SIZES[-1]:
        raise IdxError(
            f"{labels_path} holds the label {int(labels.max())}, but labels are digits from 0 to "
            f"{SIZES[-1] - 1}: another data set."
        )
    return Examples(images.flatten(1).float() / 255, labels.long())


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise IdxError(f"{folder} has neither {name} nor {name}.gz: put the four MNIST files there.")


def _read_idx(path: Path, *, dimensions: int) -> Tensor:
    """The array of an IDX file: magic number, one size for each dimension, then the bytes."""
    content = _content(path)
    magic = struct.pack(">HBB", 0, UNSIGNED_BYTE, dimensions)
    if content[:4] != magic:
        raise IdxError(
            f"{path} starts with the bytes {content[:4].hex(' ')}, but unsigned bytes of "
            f"{dimensions} dimensions start with {magic.hex(' ')}: another file, or no IDX file."
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise IdxError(
            f"{path} has {len(content)} bytes, but its header alone has {start}: it is cut off."
        )
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    values = len(content) - start
    if values == 0 or values != math.prod(shape):
        raise IdxError(
            f"{path} has {values} values, but its header says {shape}, which are "
            f"{math.prod(shape)}: fetch it again."
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise IdxError(f"{path} cannot be decompressed ({error}): fetch it again.") from error


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        raise SystemExit("usage: python benchmarks/mnist.py FOLDER [epochs]")
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else EPOCHS)
    except IdxError as error:
        raise SystemExit(str(error)) from error

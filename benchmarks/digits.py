"""Input and hidden units that gates prune from a 64-300-100-10 network, and what it costs.

    .venv/bin/python benchmarks/digits.py [seeds]

Reads scikit-learn's bundled digits, 1797 images of 8 x 8 pixels, three quarters of them for
training; a seed draws the split, the first weights and the noise. The dense network has the same
size, optimizer and epochs. One plan serves all seeds and was chosen on splits of seeds 100 to
105. The requirement holds when, at the median of the seeds, at least half of the input units and
60 % of the hidden units are pruned and at most one point of test accuracy is lost.
"""

import statistics
import sys
from collections.abc import Sequence

import torch
from gated_networks import Examples, Trained, TrainingPlan, train_dense, train_gated
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SIZES = (64, 300, 100, 10)
PLAN = TrainingPlan(
    epochs=150,
    settled_epochs=75,
    batch_size=64,
    learning_rate=4e-3,
    gate_learning_rate=5e-2,
    # a pixel pays more than a hidden unit, as in the paper's smaller networks
    gate_costs=(0.024, 0.0025, 0.003),
    init_sparsity=0.2,
    temperatures=(2 / 3, 2 / 3),
)
LARGEST_PIXEL = 16
MIN_INPUTS_PRUNED, MIN_HIDDEN_PRUNED, MAX_POINTS_LOST = 50.0, 60.0, 1.0
COLUMNS = (
    "dense %",
    "gated %",
    "kept",
    "inputs pruned %",
    "hidden pruned %",
    "parameters",
    "flops",
)


def main(seeds: int) -> None:
    results = []
    print(_line("seed", COLUMNS))
    for seed in range(seeds):
        train, test = _digits(seed)
        dense = train_dense(SIZES, train, test, plan=PLAN, seed=seed)
        gated = train_gated(SIZES, train, test, plan=PLAN, seed=seed)
        results.append((dense, gated))
        print(_line(str(seed), _cells(dense, gated)), flush=True)
    _conclude(results)


def _digits(seed: int) -> tuple[Examples, Examples]:
    images, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images / LARGEST_PIXEL, digits, test_size=0.25, stratify=digits, random_state=seed
    )
    return (
        Examples(torch.tensor(train_x, dtype=torch.float32), torch.tensor(train_y)),
        Examples(torch.tensor(test_x, dtype=torch.float32), torch.tensor(test_y)),
    )


def _conclude(results: Sequence[tuple[Trained, Trained]]) -> None:
    dense, gated = (statistics.median(100 * r[i].accuracy for r in results) for i in (0, 1))
    inputs = statistics.median(_inputs_pruned(gated) for _, gated in results)
    hidden = statistics.median(_hidden_pruned(gated) for _, gated in results)
    cells = (f"{dense:.2f}", f"{gated:.2f}", "", f"{inputs:.1f}", f"{hidden:.1f}")
    parameters = statistics.median(d.parameters / g.parameters for d, g in results)
    flops = statistics.median(d.flops / g.flops for d, g in results)
    costs = (f"{parameters:.1f} times fewer", f"{flops:.1f} times fewer")
    print(_line("median", (*cells, *costs)))
    lost = statistics.median(100 * (d.accuracy - g.accuracy) for d, g in results)
    holds = inputs >= MIN_INPUTS_PRUNED and hidden >= MIN_HIDDEN_PRUNED and lost <= MAX_POINTS_LOST
    print(f"median of the points lost: {lost:.2f}; requirement {'holds' if holds else 'FAILS'}")


def _cells(dense: Trained, gated: Trained) -> tuple[str, ...]:
    return (
        f"{100 * dense.accuracy:.2f}",
        f"{100 * gated.accuracy:.2f}",
        "-".join(map(str, gated.kept)),
        f"{_inputs_pruned(gated):.1f}",
        f"{_hidden_pruned(gated):.1f}",
        f"{dense.parameters} to {gated.parameters}",
        f"{dense.flops} to {gated.flops}",
    )


def _inputs_pruned(trained: Trained) -> float:
    return 100 * (1 - trained.kept[0] / SIZES[0])


def _hidden_pruned(trained: Trained) -> float:
    return 100 * (1 - sum(trained.kept[1:]) / sum(SIZES[1:-1]))


def _line(head: str, cells: Sequence[str]) -> str:
    widths = (9, 9, 11, 17, 17, 18, 19)
    return f"{head:<7}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)

"""The names of l0-python 0.6.2: where they are, what they take, and that they are ours everywhere.

The tables were recorded from that release. Ours may add parameters by keyword at the end, methods,
and nothing else.
"""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import l0

# module, then name; a class maps its methods to their parameters, self left out
FUNCTIONS = {
    ("l0.layers", "prune_model"): "model, threshold=0.05",
    ("l0.penalties", "compute_l0_penalty"): "model",
    ("l0.penalties", "compute_l2_penalty"): "model",
    ("l0.penalties", "compute_l0l2_penalty"): "model, l0_lambda=0.001, l2_lambda=0.0001",
    ("l0.penalties", "get_sparsity_stats"): "model",
    ("l0.penalties", "get_active_parameter_count"): "model",
    ("l0.penalties", "update_temperatures"): "model, temperature",
}
METHODS = {
    ("l0.distributions", "HardConcrete"): {
        "__init__": "input_dim, output_dim=None, temperature=0.5, stretch=0.1, init_mean=0.5",
        "reset_parameters": "",
        "forward": "input_shape=None",
        "get_penalty": "",
        "get_active_prob": "",
        "get_sparsity": "",
        "get_num_active": "",
        "extra_repr": "",
    },
    ("l0.gates", "L0Gate"): {
        "__init__": "size, temperature=0.5, init_mean=0.5",
        "get_gates": "",
        "apply_gates": "x, dim=0",
        "get_penalty": "",
        "get_active_indices": "threshold=0.5",
    },
    ("l0.gates", "SampleGate"): {
        "__init__": "n_samples, target_samples, temperature=0.25",
        "get_gates": "",
        "apply_gates": "x, dim=0",
        "get_penalty": "",
        "get_active_indices": "threshold=0.5",
        "select_samples": "data",
        "select_weighted_samples": "data, weights",
    },
    ("l0.gates", "FeatureGate"): {
        "__init__": "n_features, max_features, temperature=0.1",
        "get_gates": "",
        "apply_gates": "x, dim=0",
        "get_penalty": "",
        "get_active_indices": "threshold=0.5",
        "select_features": "data",
        "select_features_with_names": "data, feature_names",
        "get_feature_importance": "",
    },
    ("l0.gates", "HybridGate"): {
        "__init__": (
            "n_items, l0_fraction=0.25, random_fraction=0.75, target_items=None, temperature=0.25"
        ),
        "select": "data, random_seed=None",
        "get_penalty": "",
    },
    ("l0.layers", "L0Linear"): {
        "__init__": (
            "in_features, out_features, bias=True, temperature=0.5, init_sparsity=0.5, use_l2=False"
        ),
        "reset_parameters": "",
        "forward": "input",
        "get_l0_penalty": "",
        "get_l2_penalty": "",
        "get_sparsity": "",
        "extra_repr": "",
    },
    ("l0.layers", "L0Conv2d"): {
        "__init__": (
            "in_channels, out_channels, kernel_size, stride=1, padding=0, bias=True, "
            "temperature=0.5, init_sparsity=0.5, structured=False, use_l2=False"
        ),
        "reset_parameters": "",
        "forward": "input",
        "get_l0_penalty": "",
        "get_l2_penalty": "",
        "get_sparsity": "",
    },
    ("l0.layers", "L0DepthwiseConv2d"): {
        "__init__": (
            "in_channels, kernel_size, stride=1, padding=0, bias=True, temperature=0.5, "
            "init_sparsity=0.5"
        ),
        "forward": "input",
        "get_l0_penalty": "",
        "get_sparsity": "",
    },
    ("l0.layers", "SparseMLP"): {
        "__init__": (
            "input_dim=784, hidden_dim=256, output_dim=10, init_sparsity=0.5, "
            "temperature=0.5, use_l2=False"
        ),
        "forward": "x",
        "get_l0_loss": "",
        "get_l2_loss": "",
        "get_sparsity_stats": "",
    },
    ("l0.penalties", "TemperatureScheduler"): {
        "__init__": ("initial_temp=2.0, final_temp=0.1, anneal_epochs=100, schedule='exponential'"),
        "get_temperature": "epoch",
    },
    ("l0.penalties", "PenaltyTracker"): {
        "__init__": "",
        "log": "name, value",
        "get_history": "name",
        "get_stats": "name",
        "clear": "",
        "save_to_csv": "filepath",
        "plot_history": "metrics=None, save_path=None",
    },
    ("l0.calibration", "SparseCalibrationWeights"): {
        "__init__": (
            "n_features, beta=2 / 3, gamma=-0.1, zeta=1.1, init_keep_prob=0.5, "
            "init_weights=None, log_weight_jitter_sd=0.0, log_alpha_jitter_sd=0.01, "
            "device='cpu', use_gates=True, seed=None"
        ),
        "get_deterministic_gates": "",
        "get_weights": "deterministic=False",
        "forward": "M, deterministic=False",
        "get_l0_penalty": "",
        "get_l2_penalty": "",
        "get_sparsity": "",
        "get_active_weights": "",
        "fit": (
            "M, y, lambda_l0=0.01, lambda_l2=0.0, lr=0.01, epochs=1000, loss_type='mse', "
            "verbose=False, verbose_freq=100, target_groups=None, normalize_groups=True, "
            "group_multipliers=None"
        ),
        "predict": "M",
    },
    ("l0.sparse", "SparseL0Linear"): {
        "__init__": (
            "n_features, fit_intercept=True, beta=2 / 3, gamma=-0.1, zeta=1.1, "
            "init_keep_prob=0.5, device='cpu', seed=None"
        ),
        "get_deterministic_gates": "",
        "forward": "X, deterministic=False",
        "get_l0_penalty": "",
        "get_sparsity": "",
        "get_selected_features": "threshold=0.01",
        "fit": (
            "X_sparse, y, lambda_reg=0.01, lr=0.01, epochs=1000, verbose=False, verbose_freq=100"
        ),
        "predict": "X_sparse",
    },
}
# two names of one number: the default moved into the body, see test_the_two_moved_defaults
TWO_NAMES = {
    ("HardConcrete", "input_dim"),
    ("TemperatureScheduler", "anneal_epochs"),
}

SIGNATURES = [
    *(
        pytest.param(module, name, None, recorded, id=name)
        for (module, name), recorded in FUNCTIONS.items()
    ),
    *(
        pytest.param(module, name, method, recorded, id=f"{name}.{method}")
        for (module, name), methods in METHODS.items()
        for method, recorded in methods.items()
    ),
]

WITHOUT_EXTRAS = """
import sys

for name in ("tqdm", "matplotlib", "pyarrow", "pandas"):
    sys.modules[name] = None  # an import of it fails from here on

import l0
from l0 import calibration, distributions, gates, layers, penalties, sparse, survey

l0.SparseL0Linear(2, seed=0).fit([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0], epochs=2)
tracker = l0.PenaltyTracker()
tracker.log("loss", 1.0)
tracker.save_to_csv("history.csv")
"""


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.name != "self"]


def recorded_parameters(signature: str) -> list[inspect.Parameter]:
    namespace: dict[str, Any] = {}
    exec(f"def recorded({signature}): ...", namespace)  # noqa: S102
    return parameters(namespace["recorded"])


@pytest.mark.parametrize(("module", "name"), [*FUNCTIONS, *METHODS])
def test_a_name_is_one_object_in_the_package_and_in_its_module(module: str, name: str):
    assert getattr(l0, name) is getattr(importlib.import_module(module), name)
    assert name in l0.__all__


@pytest.mark.parametrize(("module", "name", "method", "recorded"), SIGNATURES)
def test_parameters_and_defaults_are_those_recorded(
    module: str, name: str, method: str | None, recorded: str
):
    thing = getattr(importlib.import_module(module), name)
    ours = parameters(thing if method is None else getattr(thing, method))
    theirs = recorded_parameters(recorded)
    assert [p.name for p in ours[: len(theirs)]] == [p.name for p in theirs]
    for our, their in zip(ours, theirs, strict=False):
        assert our.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if (name, our.name) not in TWO_NAMES:
            assert our.default == their.default
    for added in ours[len(theirs) :]:
        assert added.kind in {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
        assert added.kind is inspect.Parameter.VAR_KEYWORD or added.default is not added.empty


def test_the_two_moved_defaults():
    assert l0.TemperatureScheduler().anneal_epochs == 100
    with pytest.raises(ValueError, match="input_dim"):
        l0.HardConcrete()


def test_every_public_name_exists():
    assert len(set(l0.__all__)) == len(l0.__all__)
    for name in l0.__all__:
        assert hasattr(l0, name)


def test_l0_works_without_its_extras_and_prints_nothing(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_EXTRAS],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(l0.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

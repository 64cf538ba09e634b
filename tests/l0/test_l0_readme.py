"""The examples of the library's pages (l0/, l0/survey/) run as printed, without a warning.

Each block stands for itself. Where it prints, the comment behind is what is printed.
"""

import re
from pathlib import Path

import pytest

import l0

FOLDER = Path(l0.__file__).parent
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
DOCUMENTS = ("README.md", "survey/README.md", "MIGRATION.md")
PRINTED = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)
TYPED_BY_USERS = [
    "gate = SampleGate(n_samples=10000, target_samples=1000)",
    "selected_data, indices = gate.select_samples(data)",
    "gates = HardConcrete(len(household_weights), temperature=0.25, init_mean=0.999)",
    "gates = HardConcrete(n_items=len(households), temperature=0.25, init_mean=0.999)",
    "masked_weights = weights * gates()",
    "scheduler = TemperatureScheduler(initial_temp=1.0, final_temp=0.1, total_epochs=100)",
    "for epoch in range(100):\n    update_temperatures(model, scheduler.get_temperature(epoch))",
    "penalty = compute_l0l2_penalty(model, l0_lambda=1e-3, l2_lambda=1e-4)",
    "hybrid = HybridGate(n_items=10000, l0_fraction=0.25, random_fraction=0.75, target_items=1000)",
    "selected, indices, types = hybrid.select(data)",
    "gate = FeatureGate(n_features=1000, max_features=50)",
    "selected_data, feature_indices = gate.select_features(data)",
    "importance = gate.get_feature_importance()",
]


def blocks(document: str) -> list[str]:
    return BLOCK.findall((FOLDER / document).read_text(encoding="utf-8"))


EXAMPLES = [
    pytest.param(block, id=f"{document}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(blocks(document))
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_prints_what_it_says(
    example: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(compile(example, "example", "exec"), {"__name__": "example"})  # noqa: S102
    assert capsys.readouterr().out.splitlines() == PRINTED.findall(example)


@pytest.mark.parametrize("line", TYPED_BY_USERS)
def test_what_users_type_is_in_an_example(line: str):
    assert any(line in block for block in blocks("README.md"))


def test_links_lead_to_files():
    for document in DOCUMENTS:
        text = (FOLDER / document).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (FOLDER / document).parent.joinpath(link).is_file(), (
                f"{document} links to {link}"
            )

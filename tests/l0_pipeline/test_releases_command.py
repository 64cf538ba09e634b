"""The laws of ``python -m l0_pipeline.releases``: what it prints, and its exit status."""

import subprocess
import sys
from datetime import timedelta

import pytest
from click.testing import CliRunner
from toy_release import NOON, publish, store

from l0_pipeline.logic.release import recomputation_faults
from l0_pipeline.releases import main
from l0_pipeline.settings import PROJECT_DIR


def run(location, *words):
    return CliRunner().invoke(main, ["--location", str(location), *map(str, words)])


@pytest.fixture
def two(tmp_path):
    """Two releases of one year, the second the latest."""
    return [
        publish(tmp_path, seed=n, created_at=NOON + timedelta(days=n)).release_id for n in (0, 1)
    ]


@pytest.fixture
def no_estimates(monkeypatch):
    """The toy release has no targets to recompute."""
    monkeypatch.setattr(recomputation_faults, "estimate_faults", lambda tables: [])
    monkeypatch.setattr(recomputation_faults, "quality_faults", lambda tables, stated: [])


def harm(tmp_path, release_id):
    file = tmp_path / release_id / "summary.txt"
    file.chmod(0o644)
    file.write_text("changed\n")


def test_the_list_has_one_line_a_release_with_its_time_version_size_and_pointers(tmp_path, two):
    done = run(tmp_path, "list")
    assert done.exit_code == 0
    first, second = done.output.splitlines()
    assert first.split() == [
        *(two[1], "2026-01-02", "12:00", "schema", "2", "0.0", "MB", "latest,", "latest-2022")
    ]
    assert second.split()[0] == two[0]
    assert "latest" not in second
    assert "no release of 2021" in run(tmp_path, "list", "--year", 2021).output


def test_a_sound_release_verifies_with_status_0(tmp_path, two, no_estimates):
    done = run(tmp_path, "verify")
    assert (done.exit_code, done.output) == (
        0,
        f"{two[1]}  sound: 11 files; estimates, errors and standard errors recomputed\n",
    )
    assert run(tmp_path, "verify", two[0]).output.startswith(f"{two[0]}  sound")
    assert len(run(tmp_path, "verify", "--all").output.splitlines()) == 2


def test_a_harmed_release_fails_with_status_1_and_its_fault(tmp_path, two, no_estimates):
    harm(tmp_path, two[0])
    for words in (["verify", two[0]], ["verify", "--all"]):
        done = run(tmp_path, *words)
        assert done.exit_code == 1
        assert f"{two[0]}  summary.txt was changed" in done.output
        assert done.output.splitlines()[-1] == "Error: 1 release(s) are not what was published."
    assert run(tmp_path, "verify").exit_code == 0


def test_estimates_that_do_not_follow_from_the_weights_fail_with_status_1(
    tmp_path, two, no_estimates, monkeypatch
):
    told = []

    def faults(tables):
        told.append(sorted(tables))
        return ["7 estimates are not those of the weights"]

    monkeypatch.setattr(recomputation_faults, "estimate_faults", faults)
    done = run(tmp_path, "verify")
    assert done.exit_code == 1
    assert f"{two[1]}  7 estimates are not those of the weights" in done.output
    assert told == [["households", "weights"]]


def test_a_rollback_moves_latest_and_a_refused_one_ends_with_status_1(tmp_path, two):
    assert run(tmp_path, "rollback", two[0]).exit_code == 0
    assert store(tmp_path).latest() == two[0]
    harm(tmp_path, two[1])
    refused = run(tmp_path, "rollback", two[1])
    assert refused.exit_code == 1
    assert "summary.txt was changed" in refused.output
    assert store(tmp_path).latest() == two[0]


def test_pruning_removes_and_names_the_old(tmp_path, two):
    done = run(tmp_path, "prune", "--keep", 1)
    assert done.output == f"removed {two[0]}\n1 removed, 1 left in {tmp_path}\n"
    assert [r.release_id for r in store(tmp_path).releases()] == [two[1]]
    assert run(tmp_path, "prune", "--keep", 0).exit_code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verify"], "There is no release in"),
        (["verify", "../x"], "'../x' is not a release id"),
        (["rollback", "2022-0123456789ab"], "There is no release 2022-0123456789ab"),
        (["why", "1"], "There is no release in"),
        (["compare", "2022-0123456789ab", "2022-0123456789ab"], "There is no release 2022-012345"),
        (["verify", "2022-0123456789ab", "--all"], "Give either --all or the release"),
    ],
)
def test_an_input_error_is_one_line_and_status_1(tmp_path, words, message):
    done = run(tmp_path, *words)
    assert done.exit_code == 1
    assert len(done.output.splitlines()) == 1
    assert done.output.startswith(f"Error: {message}")


def test_listing_imports_neither_torch_nor_taxcalc_and_needs_no_s3fs(tmp_path, two):
    code = (
        "import sys; from l0_pipeline.releases import main; "
        f"main(['--location', {str(tmp_path)!r}, 'list'], standalone_mode=False); "
        "sys.exit(bool({'torch', 'taxcalc', 's3fs', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.decode().startswith(two[1])

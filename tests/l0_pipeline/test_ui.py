"""The real UI in a real browser: materialize by clicking, then read plots, schema and checks.

Screenshots go to the folder that the environment variable SCREENSHOTS names, if it does.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from l0.survey import GatedFitSettings
from l0_pipeline.settings import PROJECT_DIR
from tests.conftest import YEAR, Build

pytestmark = pytest.mark.xdist_group("build")

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS, RUN_SECONDS, PAGE_MS = 90, 150, 30_000


class Server:
    """`dagster dev` on a free port of this machine."""

    def __init__(self, build: Build) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (build.folder / "dev.log").open("w")
        command = [str(Path(sys.executable).with_name("dagster")), "dev", "-w", "workspace.yaml"]
        self._process = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port)],
            cwd=PROJECT_DIR,
            env=build.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_default_signals,
        )
        self._wait_until_loaded(build.folder / "dev.log")

    def ask(self, query: str) -> Any:
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def latest_run(self) -> dict[str, str] | None:
        query = "{runsOrError(limit: 1) {... on Runs {results {runId status}}}}"
        runs = self.ask(query)["runsOrError"]["results"]
        return runs[0] if runs else None

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._log.close()

    def _wait_until_loaded(self, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        query = "{workspaceOrError {... on Workspace {locationEntries {loadStatus}}}}"
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                entries = self.ask(query)["workspaceOrError"]["locationEntries"]
            except OSError:
                entries = []
            if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
                return
            time.sleep(0.3)
        raise TimeoutError(f"dagster dev did not load: {log.read_text()[-2000:]}")


def _default_signals() -> None:
    # a shell's background job ignores SIGINT; dagster would then ignore SIGTERM too
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="module")
def server(built: Build) -> Iterator[Server]:
    server = Server(built)
    yield server
    server.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    browser = shutil.which("chromium")
    assert browser, "the UI is tested in chromium: run `make browser`"
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=browser,
            headless=True,
            args=CHROMIUM_FLAGS,
            viewport={"width": 1400, "height": 1600},
            timezone_id="UTC",
        )
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        # what a page shows is tested, not how soon: another worker computes beside it
        expect.set_options(timeout=PAGE_MS)
        yield page
        context.close()


def _photograph(page: Page, name: str) -> None:
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"{name}.png")


def _show_plot(page: Page, label: str) -> None:
    """Open the plot in the metadata row of this name; it must be a picture that decodes."""
    row = page.get_by_role("row").filter(has=page.get_by_text(label, exact=True))
    row.get_by_text("[Show Markdown]").first.click()
    picture = page.get_by_role("dialog").locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 300
    _photograph(page, f"plot_{label}")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_analyst_materializes_calibrated_weights_by_clicking(
    server: Server, page: Page, built: Build
):
    before = server.latest_run()
    table = built.folder / "data" / "tables" / "calibrated_weights" / f"{YEAR}.parquet"
    trained = table.read_bytes()
    page.goto(f"{server.url}/assets/calibrated_weights?view=overview")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Select a partition").click()
    page.get_by_placeholder("Filter partitions").fill(YEAR)
    page.get_by_text("Select all (1)").click()
    dialog.get_by_text("Launch runs to materialize").click()
    _photograph(page, "materialize_dialog")
    dialog.get_by_role("button", name="Launch 1 run").click()
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        run = server.latest_run()
        if run and run != before and run["status"] in {"SUCCESS", "FAILURE", "CANCELED"}:
            break
        time.sleep(1)
    assert run
    assert run["status"] == "SUCCESS"
    assert table.read_bytes() == trained  # the same seed trains the same weights
    page.goto(f"{server.url}/runs/{run['runId']}")
    # the page holds the lines around those in view alone
    last = GatedFitSettings().epochs
    page.get_by_placeholder("Filter…", exact=True).fill(f"epoch {last} of {last}")
    expect(page.get_by_text(f"selection: epoch {last} of {last}")).to_be_visible()
    _photograph(page, "run")


def test_the_asset_page_shows_training_plots_and_a_described_schema(server: Server, page: Page):
    page.goto(f"{server.url}/assets/calibrated_weights?view=overview")
    expect(page.get_by_text("Hard Concrete gates").first).to_be_visible()
    described = page.get_by_text("Chance that the gate is open [probability]", exact=True)
    expect(described).to_be_visible()
    _photograph(page, "calibrated_weights")
    _show_plot(page, "training")


def test_the_checks_page_shows_each_verdict(server: Server, page: Page):
    page.goto(f"{server.url}/assets/calibrated_weights?view=checks")
    for check in ("schema_and_keys", "weights_are_sound", "support_is_the_budget"):
        expect(page.get_by_text(check).first).to_be_visible()
    page.get_by_text("support_is_the_budget").first.click()
    expect(page.get_by_text("Exactly the budget").first).to_be_visible()
    _photograph(page, "checks")


@pytest.mark.parametrize(
    ("asset", "text", "plot"),
    [
        ("households", "weighted_persons", "design_weights"),
        ("targets", "fitted, held_out, benchmark", None),
        ("target_accounting", "initial_median_error", "roles_by_family"),
        ("target_accounting", "worst_contradictions", "initial_errors_by_family"),
        ("target_findings", "sums_checked", None),
        ("target_conflicts", "areas_not_searched_to_the_end", None),
        ("build_history", "releases", None),
        ("constraint_matrix", "non_zeros", "support"),
        ("selected_households", "drawn_at_random", "weight_ratios"),
        ("selection_design", "expanded_totals", "inclusion_probabilities"),
        ("target_standard_errors", "by_family", "held_out"),
        ("target_fit", "comparison", "errors"),
        ("published_dataset", "release_id", None),
    ],
)
def test_every_page_an_analyst_reads_has_its_evidence(
    server: Server, page: Page, asset: str, text: str, plot: str | None
):
    page.goto(f"{server.url}/assets/{asset}?view=overview")
    expect(page.get_by_text(text).first).to_be_visible()
    _photograph(page, asset)
    if plot:
        _show_plot(page, plot)


def test_no_page_says_that_a_description_is_missing(server: Server, page: Page):
    owners = "owners {... on TeamAssetOwner {team}}"
    query = f"{{assetNodes {{assetKey {{path}} description groupName {owners} kinds}}}}"
    for node in server.ask(query)["assetNodes"]:
        name = node["assetKey"]["path"][0]
        assert node["description"], name
        assert node["groupName"] in {
            "sources", "microdata", "targets", "calibration", "selection", "release",
        }, name  # fmt: skip
        assert node["owners"], name
        assert node["kinds"], name
    page.goto(f"{server.url}/asset-groups")
    page.wait_for_timeout(3000)
    _photograph(page, "lineage")

"""Size of the report of the last release, seconds to make it, and to open it in Chromium.

    .venv/bin/python benchmarks/report.py [release folder]

Reads the tables of the release (by default data/releases/latest-2022), no others; only the
training history is taken from the last build of the year where the release has none. Seconds are
of the processor, on one core, in a process of its own.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

PROJECT_DIR = Path(__file__).parents[1]
LATEST = PROJECT_DIR / "data" / "releases" / "latest-2022"
LIMITS = {"bytes": 5_000_000, "seconds": 10, "milliseconds": 2_000}
WIDTHS = (1280, 390)
TIMES = 5
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update"]


def main(release: Path) -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"  # read when polars is imported
    start = time.process_time()
    html, tables = _made(release)
    seconds = time.process_time() - start
    print(f"{release.name}: {len(tables)} tables, {', '.join(tables)}\n")
    print(f"{'what':<44}{'measured':>12}{'limit':>12}")
    print(f"{'report in bytes':<44}{len(html.encode()):>12,}{LIMITS['bytes']:>12,}")
    print(f"{'made, in seconds with all imports':<44}{seconds:>12.1f}{LIMITS['seconds']:>12}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(html, encoding="utf-8")
        for width in WIDTHS:
            name = f"opened {width} px wide, in milliseconds"
            print(f"{name:<44}{_opened(file, width):>12.0f}{LIMITS['milliseconds']:>12,}")


def _made(release: Path) -> tuple[str, list[str]]:
    import polars as pl

    from l0_pipeline.logic.report.heading import heading_of
    from l0_pipeline.logic.report.page import report_html

    manifest = json.loads((release / "manifest.json").read_text(encoding="utf-8"))
    tables = {path.stem: pl.read_parquet(path) for path in sorted(release.glob("*.parquet"))}
    if "training_history" not in tables:
        history = f"data/tables/training_history/{manifest['year']}.parquet"
        tables["training_history"] = pl.read_parquet(PROJECT_DIR / history)
    heading = heading_of(manifest, release_id=release.name, address=str(release))
    return report_html(tables, heading), list(tables)


def _opened(file: Path, width: int) -> float:
    """Median milliseconds until the page and its pictures are loaded, the browser being open."""
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(TIMES):
            page = browser.new_page(viewport={"width": width, "height": 900})
            start = time.perf_counter()
            page.goto(file.as_uri(), wait_until="load")
            found.append(1000 * (time.perf_counter() - start))
            page.close()
        browser.close()
    return statistics.median(found)


if __name__ == "__main__":
    main((Path(sys.argv[1]) if len(sys.argv) > 1 else LATEST).resolve())

"""The picture of the README, from the latest release.

    .venv/bin/python benchmarks/picture.py

Writes benchmarks/release.png: how many targets are met within any error, by the released weights
and by others.
"""

from pathlib import Path

from l0_pipeline.logic import plots
from l0_pipeline.resources.release_store import ReleaseStore

WEIGHTS = {
    "design": "design weights, all households",
    "random": "as many households at random",
    "gates": "by gates alone",
    "released": "released",
}


def main() -> None:
    store = ReleaseStore()
    release = store.latest()
    if release is None:
        raise SystemExit(f"There is no release in {store.location}: `make run` makes one.")
    figure = plots.errors(store.read_table(release, "target_fit"), WEIGHTS)
    path = Path(__file__).with_name("release.png")
    figure.savefig(path, dpi=90)
    print(f"{path}, of release {release}")


if __name__ == "__main__":
    main()

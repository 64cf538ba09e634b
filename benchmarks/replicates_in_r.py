"""Standard errors of the last release by R's survey package, beside this library's.

    .venv/bin/python benchmarks/replicates_in_r.py

Needs `Rscript` and R's package `survey` (Debian: r-base-core, r-cran-survey, r-cran-mass). Nothing
but the release's own Parquet files is read: the weights, the replicate weights and their scale.
"""

import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from l0_pipeline.settings import DATA_DIR, DEFAULT_YEAR

SCRIPT = Path(__file__).parent / "r" / "replicates.R"
VARIABLES = ("persons", "tax_units", "housing_ben", "vet_ben")


def main() -> None:
    release = DATA_DIR / "releases" / f"latest-{DEFAULT_YEAR}"
    households = pl.read_parquet(release / "households.parquet")
    replicates = pl.read_parquet(release / "replicate_weights.parquet").drop("household_id")
    (how,) = pl.read_parquet(release / "replicate_design.parquet").to_dicts()
    by_r = _in_r(households, replicates, scale=how["scale"])
    weights, weight = replicates.to_numpy().astype(np.float64), households["weight"].to_numpy()
    print(f"{'statistic':<10}{'variable':<14}{'estimate':>20}{'error in R':>18}{'here':>18}")
    for name in VARIABLES:
        values = households[name].to_numpy().astype(np.float64)
        for statistic, of in {
            "total": lambda w, values=values: values @ w,
            "mean": lambda w, values=values: values @ w / w.sum(axis=0),
        }.items():
            (row,) = by_r.filter(statistic=statistic, variable=name).to_dicts()
            ours = np.sqrt(how["scale"] * np.square(of(weights) - of(weight)).sum())
            print(
                f"{statistic:<10}{name:<14}{row['estimate']:>20,.4f}{row['se']:>18,.4f}"
                f"{ours:>18,.4f}"
            )


def _in_r(households: pl.DataFrame, replicates: pl.DataFrame, *, scale: float) -> pl.DataFrame:
    """statistic, variable, estimate and se, one row each."""
    numbered = replicates.rename(
        {name: f"rep_{number}" for number, name in enumerate(replicates.columns, start=1)}
    )
    table = households.select("weight", *VARIABLES).hstack(numbered)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "release.csv"
        table.write_csv(path)
        printed = subprocess.run(
            ["Rscript", str(SCRIPT), str(path), repr(scale)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    return pl.read_csv(io.StringIO(printed))


if __name__ == "__main__":
    main()

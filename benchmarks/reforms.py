"""Reforms on files of several sizes, against the whole file: errors, seconds, memory.

    .venv/bin/python benchmarks/reforms.py [seeds]

Reads the tables of the last `make run` of 2022. Each size trains gates anew, draws the hybrid by
the selection plan and refits it as a release is. The first table has errors of revenue effects, and
in brackets the largest error of a tenth of incomes, all in percent of the whole effect; units
claim credits as they do in the whole file. The
second repeats the default size with other seeds of training and draw. The third is Tax-Calculator
itself on each file, once compiled: one calculation, the files in turn, first as the pipeline
makes it, then as the package comes, which compiles text at every call; a reform from its
parameters to its taxes, most of which is reading the law; and peak memory.
"""

import sys
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import polars as pl
from problem_2022 import held_near, load, table
from taxcalc import decorators

from l0.survey import calibrate
from l0_pipeline.logic.hybrid import draw_hybrid, refit_hybrid
from l0_pipeline.logic.reform_study import File, compare_reforms
from l0_pipeline.logic.reforms import NEARLY_LINEAR, REFORMS, tax_changes
from l0_pipeline.logic.tax_model import age_tax_units
from l0_pipeline.resources.model_cost import model_cost
from l0_pipeline.resources.plans import SelectionPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import DEFAULT_YEAR

SHARES = (0.01, 0.03, 0.08, 0.10, 0.18)
INCOMES_OF = 2014
TIMED = 5


@dataclass(frozen=True)
class Studied:
    """One size: its reforms, the tax units it keeps, and how well it meets the targets."""

    reforms: pl.DataFrame
    kept: np.ndarray  # (units,), which of the whole file's
    held_out_median_error: float

    def of(self, reform: str) -> dict[str, float]:
        """What the study says of one reform."""
        return self.reforms.row(by_predicate=pl.col("reform") == reform, named=True)


def main(seeds: int) -> None:
    whole = Whole()
    sizes = {share: whole.study(share, seed=SelectionPlan().seed) for share in SHARES}
    print("error of the revenue effect (largest error of a tenth of incomes), percent")
    heads = [f"{share:.0%}" for share in SHARES]
    print(f"{'reform':<28}{'effect, bn':>11}{'affects':>9}" + "".join(f"{h:>15}" for h in heads))
    for name in REFORMS:
        first = next(iter(sizes.values())).of(name)
        cells = "".join(f"{_cell(studied.of(name)):>15}" for studied in sizes.values())
        print(
            f"{name:<28}{first['effect_whole'] / 1e9:>11.2f}"
            f"{first['units_affected_share']:>9.1%}{cells}"
        )
    for label, reforms in (
        ("largest of the first eight", NEARLY_LINEAR),
        ("largest of all", list(REFORMS)),
    ):
        worst = [
            s.reforms.filter(pl.col("reform").is_in(reforms))["error"].abs().max()
            for s in sizes.values()
        ]
        print(f"{label:<48}" + "".join(f"{100 * (w or 0):>14.2f}%" for w in worst))
    held = "".join(f"{100 * s.held_out_median_error:>14.2f}%" for s in sizes.values())
    print(f"{'held-out median error':<48}{held}")
    print(f"\nat 10 %, gates and draw of {seeds} other seeds: the same")
    again = [whole.study(0.10, seed=seed) for seed in range(seeds)]
    for name in REFORMS:
        print(f"{name:<28}" + "".join(f"{_cell(studied.of(name)):>15}" for studied in again))
    whole.cost({f"{share:.0%}": studied.kept for share, studied in sizes.items()})


class Whole:
    """The whole file: what each reform changes for every unit, under its own weights."""

    def __init__(self) -> None:
        self._fitted, self._held_out = load()
        self._units = table("tax_units")
        self._households = table("households")
        self._aged = age_tax_units(
            self._units, income_year=INCOMES_OF, target_year=int(DEFAULT_YEAR)
        )
        changes = tax_changes(self._aged, REFORMS, year=int(DEFAULT_YEAR))
        ids = self._households["household_id"].to_numpy()
        self._place = np.searchsorted(ids, self._units["household_id"].to_numpy())
        weights = table("whole_file_weights")["weight"].to_numpy()
        self._file = File(changes, self._units["state_fips"].to_numpy(), weights[self._place])

    def study(self, share: float, *, seed: int) -> Studied:
        """Gates of one size and the hybrid drawn with them, both by one seed."""
        run = TrainingRun(budget=round(share * self._fitted.n_records), seed=seed)
        gates = calibrate(
            self._fitted,
            budget=run.budget,
            seed=run.seed,
            max_weight_ratio=run.max_weight_ratio,
            settings=run.selection(),
            refit_settings=run.refit(),
        )
        trained = pl.DataFrame(
            {
                "scaled_design_weight": self._fitted.design_weights,
                "log_alpha": pl.Series(gates.log_alpha).replace(float("-inf"), None),
                "open_probability": gates.open_probability,
            }
        )
        return self._hybrid(trained, run, gates.penalty, seed)

    def _hybrid(
        self, trained: pl.DataFrame, run: TrainingRun, penalty: float, seed: int
    ) -> Studied:
        plan = SelectionPlan(seed=seed)
        near = held_near(plan, design_weights=self._fitted.design_weights)
        sample = draw_hybrid(trained, self._households, near.shares, size=run.budget, **plan.draw())
        weights = refit_hybrid(
            near.problem(self._fitted, sample),
            sample,
            expansion=plan.expansion,
            loss=run.loss,
            settings=run.refit(penalty=penalty),
            device="cpu",
        )
        kept = (weights > 0)[self._place]
        of_units = weights[self._place][kept]
        sparse = File(self._file.changes.filter(kept), self._file.states[kept], of_units)
        reforms, _ = compare_reforms(
            self._file, sparse, REFORMS, replicates=of_units[:, None], scale=1.0
        )
        error = np.abs(self._held_out.relative_errors(weights))
        return Studied(reforms, kept, float(np.median(error)))

    def cost(self, kept: dict[str, np.ndarray]) -> None:
        """Seconds and memory of the model, the files in turn."""
        files = {name: self._aged.filter(units) for name, units in kept.items()}
        files["whole"] = self._aged
        ours = model_cost(files, REFORMS["bottom_rate"], year=int(DEFAULT_YEAR), runs=TIMED)
        memoised, decorators.compile = decorators.compile, compile
        theirs = model_cost(files, REFORMS["bottom_rate"], year=int(DEFAULT_YEAR), runs=TIMED)
        decorators.compile = memoised
        found = ours.with_columns(as_it_comes=theirs["seconds"])
        base = found.row(by_predicate=pl.col("file") == "whole", named=True)
        print(
            f"\n{'file':<8}{'units':>9}{'calculation':>13}{'faster':>8}{'as it comes':>13}"
            f"{'faster':>8}{'all of a reform':>17}{'MB':>8}"
        )
        for row in found.iter_rows(named=True):
            reformed = _from_parameters(files[row["file"]])
            print(
                f"{row['file']:<8}{row['tax_units']:>9,}{row['seconds']:>11.3f} s"
                f"{base['seconds'] / row['seconds']:>8.1f}{row['as_it_comes']:>11.3f} s"
                f"{base['as_it_comes'] / row['as_it_comes']:>8.1f}"
                f"{reformed:>15.2f} s{row['memory_mb']:>8.0f}"
            )


def _from_parameters(aged: pl.DataFrame) -> float:
    """Seconds of a reform from its JSON parameters to its taxes, once compiled."""
    import taxcalc

    started = perf_counter()
    law = taxcalc.Policy()
    law.implement_reform({"II_rt1": {int(DEFAULT_YEAR): 0.11}})
    law.set_year(int(DEFAULT_YEAR))
    records = taxcalc.Records(
        data=aged.with_columns(RECID=pl.int_range(1, pl.len() + 1)).to_pandas(),
        start_year=int(DEFAULT_YEAR),
        gfactors=None,
        weights=None,
    )
    taxcalc.Calculator(policy=law, records=records, verbose=False).calc_all()
    return perf_counter() - started


def _cell(row: dict[str, float]) -> str:
    return f"{100 * row['error']:+.2f} ({100 * row['largest_decile_error']:.2f})"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)

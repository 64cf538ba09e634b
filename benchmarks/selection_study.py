"""What more chance costs and saves: mixes of gates and random households, over several seeds.

    .venv/bin/python benchmarks/selection_study.py [seeds]

Reads the tables of the last `make run` of 2022. Every seed trains gates anew and draws each mix
by the selection plan's design, refitted with and without the survey's own shares and the whole
file's totals held. Prints
means over seeds; ratios are to gates alone of the same seed, refitted on the targets alone.
"""

import sys

import polars as pl
from problem_2022 import held_near, load, table

from l0.survey import calibrate
from l0_pipeline.logic.hybrid import draw_hybrid, refit_hybrid
from l0_pipeline.logic.study import Judges, compare
from l0_pipeline.logic.untargeted import within_area_shares
from l0_pipeline.resources.plans import SelectionPlan, StudyPlan
from l0_pipeline.resources.training_run import TrainingRun

COLUMNS = (
    "loss", "held_out_error", "held_out_median_error", "effective_sample_size",
    "distortion", "watched_distortion", "drift", "error_ratio", "distortion_ratio",
    "effective_ratio",
)  # fmt: skip


def main(seeds: int) -> None:
    found = pl.concat([study(seed) for seed in range(seeds)])
    means = found.group_by("gate_share", "anchored", maintain_order=True).agg(
        pl.col(COLUMNS).mean(),
        error_ratio_sd=pl.col("error_ratio").std(),
        supported=pl.col("supported").sum(),
    )
    print(f"means over {seeds} seeds; supported: in how many")
    with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=200, float_precision=4):
        print(means)


def study(seed: int) -> pl.DataFrame:
    run, plan, limits = TrainingRun(), SelectionPlan(seed=seed), StudyPlan()
    fitted, held_out = load()
    design = fitted.design_weights
    households = table("households")
    near = held_near(plan, design_weights=design)
    gates = calibrate(
        fitted, budget=run.budget, seed=seed, settings=run.selection(), refit_settings=run.refit()
    )
    trained = pl.DataFrame(
        {
            "scaled_design_weight": design,
            "log_alpha": pl.Series(gates.log_alpha).replace(float("-inf"), None),
            "open_probability": gates.open_probability,
        }
    )
    held, watched = (
        within_area_shares(households, columns, design_weights=design)
        for columns in (plan.anchored, limits.watched)
    )
    judges = Judges(fitted, held_out, held, watched, households, limits.amounts, run.loss)
    mixes = []
    for share in limits.gate_shares:
        sample = draw_hybrid(
            trained, households, held, size=run.budget, **plan.draw() | {"gate_share": share}
        )
        for anchored in (False, True):
            weights = refit_hybrid(
                near.problem(fitted, sample) if anchored else fitted,
                sample,
                expansion=plan.expansion,
                loss=run.loss,
                settings=run.refit(penalty=gates.penalty),
                device="cpu",
            )
            mixes.append(
                judges.judge(weights, gate_share=share, anchored=anchored, standard_errors=None)
            )
    return compare(
        mixes,
        most_error=limits.most_error,
        most_distortion=limits.most_distortion,
        least_effective=limits.least_effective,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)

"""How many households gates should choose: mixes beside each other, and what each costs."""

import dagster as dg
import numpy as np
import polars as pl

from l0_pipeline import checks, provenance
from l0_pipeline.io_managers import TABLE
from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.matrix import ConstraintMatrix
from l0_pipeline.logic.tables import STUDY_COLUMNS, descriptions
from l0_pipeline.partitions import years
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.plans import ReplicatePlan, SelectionPlan, StudyPlan
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.settings import OWNERS


@dg.asset(
    partitions_def=years,
    dagster_type=TABLE,
    group_name="selection",
    kinds={"torch", "parquet"},
    owners=OWNERS,
    pool="gpu",
    metadata={"descriptions": descriptions(STUDY_COLUMNS)},
    check_specs=[
        checks.schema_and_keys("selection_study", "gate_share", "anchored"),
        dg.AssetCheckSpec(
            "the_default_mix_is_supported",
            asset="selection_study",
            description="The selection plan's gate_share is the one that the study supports.",
        ),
    ],
)
def selection_study(
    context: dg.AssetExecutionContext,
    calibrated_weights: pl.DataFrame,
    refit_validation: pl.DataFrame,
    constraint_matrix: ConstraintMatrix,
    target_accounting: pl.DataFrame,
    households: pl.DataFrame,
    tax_units: pl.DataFrame,
    tax_outputs: pl.DataFrame,
    tax_responses: pl.DataFrame,
    model_totals: pl.DataFrame,
    training_run: TrainingRun,
    selection_plan: SelectionPlan,
    replicate_plan: ReplicatePlan,
    study_plan: StudyPlan,
    compute_device: ComputeDevice,
) -> dg.MaterializeResult:
    """Gates against chance: error, distortion of what no target mentions, standard errors.

    Each share of gates is drawn by the selection plan's design and refitted twice, with and
    without the survey's own shares and the whole file's totals held. All are compared with gates
    alone, refitted on the targets alone. A mix is supported whose held-out error is at most 1.03
    times theirs, whose distortion is at most 0.6 times and whose effective sample size is at least
    0.8 times (`study_plan`); the one with the fewest gates should be the default. Distortion is
    the total variation of the held columns' shares within states, against the survey's. Made on
    demand: a rebuild leaves it out.
    """
    from l0_pipeline import evidence
    from l0_pipeline.logic import plots
    from l0_pipeline.logic.calibration import chosen_penalty, problem_of
    from l0_pipeline.logic.hybrid import HeldNear, draw_hybrid, refit_hybrid, replicates_of
    from l0_pipeline.logic.model_totals import with_responses
    from l0_pipeline.logic.study import Judges, MixQuality, compare, supported_share
    from l0_pipeline.logic.untargeted import within_area_shares

    if not (target_accounting["role"] == "held_out").any():
        raise InputError(
            "selection_study needs held-out targets to judge by, and there are none. Set "
            "held_out_share of the resource target_plan above 0."
        )
    if not selection_plan.anchored:
        raise InputError(
            "selection_study compares how far columns that no target mentions are distorted, and "
            "none is named. Set anchored of the resource selection_plan."
        )
    design = calibrated_weights["scaled_design_weight"].to_numpy()
    fitted, held_out = (
        problem_of(role, constraint_matrix, target_accounting, design_weights=design)
        for role in ("fitted", "held_out")
    )
    held, watched = (
        within_area_shares(households, columns, design_weights=design)
        for columns in (selection_plan.anchored, study_plan.watched)
    )
    judges = Judges(
        fitted,
        held_out,
        held,
        watched,
        households,
        study_plan.amounts,
        training_run.loss,
    )
    settings = training_run.refit(penalty=chosen_penalty(refit_validation))

    near = HeldNear(
        held,
        model_totals,
        tax_units,
        with_responses(tax_outputs, tax_responses),
        households["household_id"],
        **selection_plan.held(),
    )

    def mix(share: float, anchored: bool) -> MixQuality:
        # gates alone are taken as they are: nothing is drawn that could make up a minimum
        varied: dict[str, object] = {"gate_share": share}
        if share in (0, 1):
            varied["gates_enter"] = "certainly"  # one part alone is drawn
        if share == 1:
            varied["least_state_share"] = 0.0
        sample = draw_hybrid(
            calibrated_weights,
            households,
            held,
            size=training_run.budget,
            **selection_plan.draw() | varied,
        )
        problem = near.problem(fitted, sample) if anchored else fitted
        weights = refit_hybrid(
            problem,
            sample,
            expansion=selection_plan.expansion,
            loss=training_run.loss,
            settings=settings,
            device=compute_device.device,
        )
        errors = None
        if (sample.inclusion_probability < 1).any():
            kept = held_out.constraints[:, sample.indices]
            errors = replicates_of(
                problem,
                sample,
                weights[sample.indices],
                total=training_run.total,
                **replicate_plan.model_dump(),
            ).standard_error(lambda given: kept @ given)
        found = judges.judge(weights, gate_share=share, anchored=anchored, standard_errors=errors)
        context.log.info(
            f"{share:.0%} by gates, {'held' if anchored else 'targets alone'}: held-out error "
            f"{found.held_out_error:.4f}, distortions {found.distortions}"
        )
        return found

    mixes = [
        mix(share, anchored)
        for share in sorted({*study_plan.gate_shares, 1.0})
        for anchored in (False, True)
    ]
    table = compare(
        mixes,
        most_error=study_plan.most_error,
        most_distortion=study_plan.most_distortion,
        least_effective=study_plan.least_effective,
    )
    supported = supported_share(table)
    return dg.MaterializeResult(
        value=table,
        metadata={
            "supported_gate_share": float("nan") if supported is None else supported,
            "mixes": evidence.table(table),
            "frontier": evidence.plot(plots.mixes(table)),
            provenance.MADE_WITH: provenance.made_with(
                training_run=training_run, selection_plan=selection_plan, study_plan=study_plan
            ),
        },
        check_results=checks.told(
            [
                checks.judge_table(table, STUDY_COLUMNS, "gate_share", "anchored"),
                dg.AssetCheckResult(
                    check_name="the_default_mix_is_supported",
                    passed=bool(
                        supported is not None and np.isclose(supported, selection_plan.gate_share)
                    ),
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={
                        "supported": float("nan") if supported is None else supported,
                        "gate_share": selection_plan.gate_share,
                    },
                ),
            ]
        ),
    )

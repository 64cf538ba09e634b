"""What Dagster loads: assets, resources, job and automation. The only file that makes resources."""

from collections.abc import Mapping

import dagster as dg

from l0_pipeline import settings
from l0_pipeline.assets import (
    calibration,
    diagnosis,
    fit,
    folds,
    frontier,
    history,
    microdata,
    reasons,
    reforms,
    release,
    replicates,
    selection,
    sources,
    study,
    targets,
    whole_file,
)
from l0_pipeline.automation import input_changed, weekly_rebuild
from l0_pipeline.io_managers import MatrixIOManager, WholeParquetIOManager
from l0_pipeline.jobs import rebuild
from l0_pipeline.resources.comparison_plan import ComparisonPlan
from l0_pipeline.resources.compute_device import ComputeDevice
from l0_pipeline.resources.cps_source import CpsSource
from l0_pipeline.resources.figures import FiguresSource
from l0_pipeline.resources.plans import (
    CheckLimits,
    ConflictPlan,
    FrontierPlan,
    ReplicatePlan,
    SelectionPlan,
    StudyPlan,
    TargetPlan,
)
from l0_pipeline.resources.reform_plan import ReformPlan
from l0_pipeline.resources.release_store import ReleaseStore
from l0_pipeline.resources.training_run import TrainingRun
from l0_pipeline.resources.variables import VariableDictionary
from l0_pipeline.resources.warehouse import Warehouse, WarehouseTableIOManager

assets = dg.load_assets_from_modules(
    [
        *(sources, microdata, diagnosis, targets, calibration, whole_file, frontier, folds),
        *(selection, replicates, study, fit, reforms, reasons, release, history),
    ]
)


# two steps at a time on two cores; each in its own process, so that memory is given back, forked
# from a server that has imported the definitions once
PROCESSES = {
    "max_concurrent": 2,
    "start_method": {"forkserver": {"preload_modules": ["l0_pipeline.definitions"]}},
}


@dg.configured(
    dg.multi_or_in_process_executor,
    config_schema={
        "one_process": dg.Field(
            bool,
            default_value=False,
            description="All steps one after the other in one process: less work where data are "
            "few, since Tax-Calculator is compiled once for all of them.",
        )
    },
)
def executor(config: Mapping[str, bool]) -> dict[str, object]:
    """A process for each step, or one for all."""
    return {"in_process": {}} if config["one_process"] else {"multiprocess": PROCESSES}


defs = dg.Definitions(
    assets=assets,
    jobs=[rebuild],
    schedules=[weekly_rebuild],
    sensors=[input_changed],
    resources={
        "cps_source": CpsSource(),
        "figures_source": FiguresSource(),
        "variable_dictionary": VariableDictionary(),
        "compute_device": ComputeDevice(),
        "training_run": TrainingRun(),
        "target_plan": TargetPlan(),
        "selection_plan": SelectionPlan(),
        "replicate_plan": ReplicatePlan(),
        "study_plan": StudyPlan(),
        "conflict_plan": ConflictPlan(),
        "frontier_plan": FrontierPlan(),
        "reform_plan": ReformPlan(),
        "check_limits": CheckLimits(),
        "comparison_plan": ComparisonPlan(),
        "release_store": ReleaseStore(),
        "warehouse": Warehouse(),
        "io_manager": WholeParquetIOManager(base_dir=str(settings.DATA_DIR / "tables")),
        "matrix_io_manager": MatrixIOManager(),
        "warehouse_io_manager": WarehouseTableIOManager(),
    },
    executor=executor,
)

"""The one job: everything from source to release, for one target year."""

import dagster as dg


@dg.success_hook
def announce(context: dg.HookContext) -> None:
    """One line in the log for each step that has passed with its blocking checks judged."""
    context.log.info(f"{context.op.name}: done")


rebuild = dg.define_asset_job(
    "rebuild",
    # these help to choose settings and to trust the fit; no release needs them
    selection=dg.AssetSelection.all()
    - dg.AssetSelection.assets("size_frontier", "selection_study", "unseen_errors"),
    description="Source, targets, calibration, selection and release of one target year.",
    hooks={announce},
)

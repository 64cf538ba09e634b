"""Where and how gates are trained: a GPU where there is one, else the CPU; alone or shared."""

from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from l0_pipeline.settings import CHECKPOINT_DIR, CHECKPOINT_SECONDS

if TYPE_CHECKING:
    from l0.survey import CalibrationProblem, CalibrationResult, Checkpoint


class ComputeDevice(dg.ConfigurableResource["ComputeDevice"]):
    """The device of the training run. Steps that use it share the pool ``gpu``."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="auto: a GPU where torch finds one, else the CPU. cuda: a GPU or an error.",
    )

    processes: int = Field(
        default=1,
        ge=1,
        le=4,
        description=(
            "1, 2 or 4 processes that share the training run, each on a GPU of its own where "
            "there are GPUs. The result is the same bit for bit."
        ),
    )

    checkpoint_seconds: float = Field(
        default=CHECKPOINT_SECONDS,
        ge=0,
        description="A training run that is killed loses no more work than this.",
    )

    checkpoint_folder: str = Field(
        default=str(CHECKPOINT_DIR),
        description="Where a training run under way is saved; each run's file is its own.",
    )

    def describe(self) -> str:
        """The device by its name, refused where ``cuda`` was asked for and is not there."""
        import torch

        from l0.survey.device import choose_device

        chosen = choose_device(self.device)
        if chosen.type == "cuda":
            return str(torch.cuda.get_device_name(chosen))
        shared = "" if self.processes == 1 else f", {self.processes} processes"
        return f"CPU, {torch.get_num_threads()} threads{shared}"

    def calibrate(self, problem: "CalibrationProblem", **options: Any) -> "CalibrationResult":
        """Call ``l0.survey.calibrate`` here, or take up the same call where it was killed."""
        from l0.survey.launch import calibrate_in_processes

        return calibrate_in_processes(
            problem,
            processes=self.processes,
            device=self.device,
            checkpoint=self.checkpoint(),
            **options,
        )

    def checkpoint(self) -> "Checkpoint":
        """Where a training run is saved, under a name of its own."""
        from l0.survey import Checkpoint

        return Checkpoint(
            self.checkpoint_folder, every_seconds=self.checkpoint_seconds, own_name=True
        )

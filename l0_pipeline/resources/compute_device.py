"""Where gates are trained: a GPU where there is one, else the CPU."""

from typing import Literal

import dagster as dg
from pydantic import Field


class ComputeDevice(dg.ConfigurableResource["ComputeDevice"]):
    """The device of the training run. Steps that use it share the pool ``gpu``."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="auto: a GPU where torch finds one, else the CPU. cuda: a GPU or an error.",
    )

    def describe(self) -> str:
        """The device by its name, refused where ``cuda`` was asked for and is not there."""
        import torch

        from l0.survey.device import choose_device

        chosen = choose_device(self.device)
        if chosen.type == "cuda":
            return str(torch.cuda.get_device_name(chosen))
        return f"CPU, {torch.get_num_threads()} threads"

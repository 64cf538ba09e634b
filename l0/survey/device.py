"""Where a fit runs."""

import torch

from l0.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device a fit runs on: "auto" takes a GPU where there is one."""
    if name not in {"auto", "cpu", "cuda"}:
        raise InputError(f"device is {name!r}, but must be 'auto', 'cpu' or 'cuda'.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError(
            "device 'cuda' was asked for, but torch finds no GPU here. Use 'auto' or 'cpu', or "
            "install a CUDA build of torch on a machine with a GPU."
        )
    return torch.device("cuda" if name != "cpu" and available else "cpu")

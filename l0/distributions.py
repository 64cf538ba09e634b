"""The module name under which l0-python has the Hard Concrete distribution."""

from l0.hard_concrete import HardConcrete

__all__ = ["HardConcrete"]

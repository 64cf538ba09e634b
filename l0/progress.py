"""What a fit of an estimator tells: every record to a callback, a log line and a bar if asked."""

import logging
import math
from types import TracebackType
from typing import Any

from l0.errors import InputError
from l0.inputs import whole
from l0.survey.history import EpochRecord, OnProgress, is_recorded

logger = logging.getLogger("l0")


class Progress:
    """Collects a fit's history; a context, so that the bar is closed whatever happens."""

    def __init__(
        self,
        epochs: int,
        *,
        verbose: bool,
        verbose_freq: int,
        on_progress: OnProgress | None,
    ) -> None:
        self.history: list[EpochRecord] = []
        self._epochs = whole("epochs", epochs, least=0)
        self._every = whole("verbose_freq", verbose_freq, least=1 if verbose else 0)
        self._on_progress = on_progress
        self._verbose = verbose
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if self._verbose:
            # needed by those alone who want to see a bar
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self._epochs, unit="epoch")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def wants(self, epoch: int) -> bool:
        """Whether this epoch is recorded: every tenth, the last, and those to be logged."""
        return is_recorded(epoch, self._epochs) or (self._verbose and self._is_logged(epoch))

    def record(self, record: EpochRecord) -> None:
        """Keep a record and tell of it.

        Raises:
            InputError: its loss is no longer a finite number.
        """
        if not math.isfinite(record.loss):
            raise InputError(
                f"the loss is {record.loss} at epoch {record.epoch}. Lower the learning rate, or "
                "start from smaller weights."
            )
        self.history.append(record)
        if self._on_progress is not None:
            self._on_progress(record)
        if self._bar is not None:
            self._bar.update(record.epoch + 1 - self._bar.n)
        if self._verbose and self._is_logged(record.epoch):
            logger.info(
                "epoch %d of %d: loss %.6g, penalty %.6g, %.1f gates expected open",
                record.epoch + 1,
                record.epochs,
                record.loss,
                record.penalty,
                record.expected_count,
            )

    def _is_logged(self, epoch: int) -> bool:
        return (epoch + 1) % self._every == 0

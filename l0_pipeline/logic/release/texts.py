"""What a release says to people: its summary, its report, and what differs from run to run.

These follow from the tables, the manifest and the place, and are no part of the release id: the
comparison with the release before, and the seconds of the tax model, may differ between two
publications of the same data.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from l0_pipeline.logic.release.comparison import Comparison
from l0_pipeline.logic.release.contents import ReleaseHeading, ReleaseText
from l0_pipeline.logic.release.quality import FitQuality, ReleaseQuality
from l0_pipeline.logic.release.summary import summary_text

DIGITS = 9


@dataclass(frozen=True, eq=False)
class ReleaseTexts:
    """What the texts are made from."""

    tables: Mapping[str, pl.DataFrame]  # as released
    quality: ReleaseQuality
    gates_only: FitQuality
    random: FitQuality
    reform_cost: pl.DataFrame
    comparison: Comparison | None  # None: the first release of its year

    def by_name(self) -> dict[str, ReleaseText]:
        """Every text by the name of its file."""
        beside = self._beside()
        return {
            "summary.txt": self._summary,
            "report.html": self._report,
            **{
                # what is computed from other tables need not be told to the last digit
                f"{name}.csv": table.with_columns(cs.float().round_sig_figs(DIGITS)).write_csv()
                for name, table in beside.items()
            },
        }

    def _beside(self) -> dict[str, pl.DataFrame]:
        """Tables that are no part of the id."""
        tables = {"reform_cost": self.reform_cost}
        if self.comparison is not None:
            changed = self.comparison.targets.filter(
                pl.col("status").is_in(["added", "removed"])
                | ((pl.col("status") != "alike") & pl.col("role_now").is_in(["fitted", "held_out"]))
            )
            tables |= {
                "comparison_summary": self.comparison.summary,
                "comparison_targets": changed,
                "comparison_drift": self.comparison.drift,
            }
        return tables

    def _summary(self, heading: ReleaseHeading) -> str:
        return summary_text(
            self.quality,
            title=heading.manifest.title,
            address=heading.address,
            gates_only=self.gates_only,
            random=self.random,
        )

    def _report(self, heading: ReleaseHeading) -> str:
        from l0_pipeline.logic.report.heading import heading_of
        from l0_pipeline.logic.report.page import report_html

        return report_html(
            {**self.tables, **self._beside()},
            heading_of(
                heading.manifest.model_dump(mode="json"),
                release_id=heading.release_id,
                address=heading.address,
            ),
        )

"""What a report says of its release beside its tables: name, place, seed, time, settings, terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from l0_pipeline.logic.release.licence import Licence


@dataclass(frozen=True)
class ReportHeading:
    """The release that a report is about; everything here is in its manifest, but the address."""

    release_id: str
    address: str  # where the release lies, as a reader would type it
    title: str
    year: int
    seed: int
    created_at: datetime
    compared_with: str | None  # release id; None: the first release of its year
    quality: Mapping[str, float]
    settings: Mapping[str, Mapping[str, JsonValue]]
    licence: Licence
    packages: Mapping[str, str]
    code_version: str = ""
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # input: {file: sha256}

    @property
    def limits(self) -> Mapping[str, JsonValue]:
        """What a release must reach."""
        return self.settings.get("check_limits", {})


def heading_of(manifest: Mapping[str, Any], *, release_id: str, address: str) -> ReportHeading:
    """The heading of a release's report, from what its ``manifest.json`` says."""
    return ReportHeading(
        release_id=release_id,
        address=address,
        title=manifest["title"],
        year=manifest["year"],
        seed=manifest["seed"],
        created_at=datetime.fromisoformat(manifest["created_at"]),
        compared_with=manifest.get("compared_with"),
        quality=manifest["quality"],
        settings=manifest["settings"],
        licence=Licence.model_validate(manifest["licence"]),
        packages=manifest["packages"],
        code_version=manifest["code_version"],
        inputs={manifest[part]["name"]: manifest[part]["files"] for part in ("source", "figures")},
    )

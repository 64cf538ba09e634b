"""The README's Python examples that read no release, or say how sure it is, do what they say.

How a release is read without our code is asked in ``l0_pipeline/test_readers_of_a_release.py``.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from l0_pipeline.settings import PROJECT_DIR
from tests.conftest import Build

EXAMPLES = re.findall(r"```python\n(.*?)```", (PROJECT_DIR / "README.md").read_text(), re.DOTALL)


def _run(word: str, folder: Path) -> str:
    """What the one example prints that has this word."""
    (example,) = (text for text in EXAMPLES if word in text)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.xdist_group("build")
def test_a_release_alone_gives_a_standard_error(built: Build):
    households, error = map(float, _run("np.sqrt(scale", built.folder).split())
    assert 5e6 < households < 3e7  # of five or more persons
    assert 0 < error < 0.2 * households


def test_the_library_keeps_exactly_the_budget(tmp_path: Path):
    support, effective, loss = _run("CalibrationProblem", tmp_path).split()
    assert int(support) == 100
    assert 1 < float(effective) <= 100
    assert 0 <= float(loss) < 0.05

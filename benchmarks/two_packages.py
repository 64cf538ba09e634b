"""Runs one measuring program with either package's interpreter, since both are imported as l0.

What is measured is in the programs ``incumbent_*.py``; each prints a report in JSON with the
folder that ``import l0`` found.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

Report = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent


def measure_ours(program: str, *arguments: str) -> Report:
    """The report on this repository's package."""
    report = _measure(sys.executable, "l0-pipeline", program, *arguments, path=ROOT)
    if Path(report["folder"]) != ROOT / "l0":
        raise SystemExit(f"measured {report['folder']}, but ours is {ROOT / 'l0'}.")
    return report


def measure_other(python: str, program: str, *arguments: str) -> Report:
    """The report on l0-python in the environment of another interpreter."""
    report = _measure(python, "l0-python", program, *arguments, path=None)
    if Path(report["folder"]) == ROOT / "l0":
        raise SystemExit(
            f"{python} imports {report['folder']}, but must find another package: give the "
            "interpreter of an environment with l0-python."
        )
    return report


def other_python() -> str:
    """The interpreter given as the one argument."""
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: python {sys.argv[0]} OTHER_PYTHON")
    # the processes run elsewhere; a link is left a link, or the environment would be lost
    python = Path(sys.argv[1]).absolute()
    if not python.is_file():
        raise SystemExit(f"{python} is no file, but must be the other interpreter.")
    return str(python)


def _measure(
    python: str, distribution: str, program: str, *arguments: str, path: Path | None
) -> Report:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    script = Path(__file__).with_name(program)
    # -P: the folder of the script is not searched for modules
    command = [python, "-P", str(script), distribution, *arguments]
    done = subprocess.run(
        command,
        cwd=path or tempfile.gettempdir(),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{python} could not measure {distribution}: is it installed there?")
    report: Report = json.loads(done.stdout)
    return report

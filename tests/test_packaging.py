"""The artefact that we ship: one name in site-packages, and a demo that runs from any folder."""

import json
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = (
    "py.typed",
    "lexicons/zh.yaml",
    "pipelines/recipes/demo.yaml",
    "pipelines/audits/README.md",
    "pipelines/templates/audits.html.j2",
    "pipelines/templates/overview.html.j2",
    "pipelines/templates/overview.js",
    "pipelines/templates/card.md.j2",
    "pipelines/templates/datasheet.toml.j2",
    "pipelines/templates/notice.md.j2",
    "pipelines/release/questions.toml",
    "pipelines/view/view.css",
    "pipelines/view/view.html",
    "pipelines/view/panes.js",
    "annotation/GUIDELINES.zh.md",
    "annotation/quality/messages.yaml",
    "annotation/server/constraints.txt",
    "annotation/templates/annotation.html.j2",
    "annotation/translation/prompts.yaml",
    "baselines/forgerytalker/configs/tiny.yaml",
    "baselines/forgerytalker/templates/card.md.j2",
    "baselines/forgerytalker/templates/demo.css",
)


def run(*command: object, cwd: Path, **kwargs) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, ROOT, cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """An empty environment with the wheel and its declared dependencies, nothing else."""
    home = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", home / "venv", cwd=home)
    python = home / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt"]
    run(*pip, f"{wheel}[mediapipe]", cwd=home)
    run(*pip, "--no-deps", f"mediapipe=={version('mediapipe')}", cwd=home)
    return python


def test_the_wheel_adds_one_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"mmtt"}
    assert {f"mmtt/{needed}" for needed in NEEDED} - set(names) == set()
    assert not [name for name in names if "test" in name or ".venv" in name]


def test_the_core_installs_light(installed):
    listed = {
        row["name"].lower() for row in json.loads(run(installed, "-m", "pip", "list", "--format=json", cwd=Path("/")))
    }
    assert not listed & {"torch", "transformers", "datasets", "tensorflow", "jax"}


def test_the_installed_demo_runs_from_another_folder(installed, tmp_path):
    mmtt = installed.with_name("mmtt")
    told = json.loads(run(mmtt, "demo", "shown", "--workers", 2, "--json", cwd=tmp_path))
    forged = next(stage for stage in told if stage["stage"] == "forge")
    assert forged["accepted"] >= 60
    assert (tmp_path / "shown" / "overview.html").stat().st_size > 100_000
    assert "no faults" in run(mmtt, "verify", "shown", cwd=tmp_path)
    inside = run(installed, "-c", "import mmtt.pipelines.forge as f; print(f.__file__)", cwd=tmp_path)
    assert "site-packages" in inside
    assert 'alias="eyebrow"' in run(mmtt, "annotate", "interface", "--language", "zh", cwd=tmp_path)
    assert json.loads(run(mmtt, "annotate", "status", "shown", "--json", cwd=tmp_path))["events"] == 0
    families = {row["manipulation"] for row in _columns(installed, tmp_path)}
    assert len(families) >= 7


def _columns(python: Path, folder: Path) -> list[dict[str, str]]:
    code = (
        "import json, sys; from pathlib import Path; from mmtt.manifest import read_columns; "
        "print(json.dumps(read_columns(Path('shown/forged'), ['manipulation'])))"
    )
    return json.loads(run(python, "-c", code, cwd=folder))

"""The shape that we hold: sizes, and what may import what."""

import ast
import statistics
import subprocess
import sys
from pathlib import Path

from pipelines.manipulators import BUILT_IN

ROOT = Path(__file__).parents[1]
SOURCES = [p for folder in ("mmtt", "pipelines", "annotation", "baselines") for p in (ROOT / folder).rglob("*.py")]
EXTRA = (
    "torch", "torchvision", "datasets", "mediapipe", "insightface", "onnxruntime", "facexlib", "diffusers",
    "transformers", "label_studio_sdk", "httpx", "rapidfuzz", "safetensors", "gradio", "pycocoevalcap", "tensorboard",
    "huggingface_hub", "c2pa", "cryptography", "mlcroissant",
)  # fmt: skip
TORCH_FREE = "import sys; " + "".join(f"sys.modules['{name}'] = None; " for name in EXTRA)


def function_lengths() -> list[int]:
    trees = [ast.parse(path.read_text()) for path in SOURCES]
    nodes = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes)


def test_functions_are_short():
    lengths = function_lengths()
    assert statistics.median(lengths) <= 10
    assert lengths[int(0.9 * len(lengths))] <= 35
    assert lengths[-1] <= 60


def test_files_are_short():
    assert {str(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 310} == {}


def test_the_core_imports_without_any_extra():
    modules = [f"mmtt.{p.stem}" for p in (ROOT / "mmtt").glob("*.py") if p.stem not in ("__init__", "__main__")]
    modules += ["baselines.cli", "baselines.forgerytalker.config", "mmtt.metrics.captions"]
    modules += [f"pipelines.{name}" for name in ("ingest", "plan", "forge", "overview", "degrade", "replay", "doctor")]
    modules += [f"pipelines.manipulators.{home.strip('.').split(':')[0]}" for home in BUILT_IN.values()]
    modules += [f"pipelines.finders.{name}" for name in ("insightface", "facexlib")] + ["pipelines.parsers.facexlib"]
    modules += [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in (ROOT / "annotation").rglob("*.py")]
    code = TORCH_FREE + "; ".join(f"import {name}" for name in modules)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_command_line_starts_without_what_single_commands_need():
    code = "import sys; from mmtt.cli import APPLICATIONS, mount; mount(*APPLICATIONS); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert not {"pandas", "scipy", "sklearn", "matplotlib", "skimage", "torch"} & set(done.stdout.split())


def test_applications_import_themselves_relatively():
    """An absolute import would break in the wheel, where they ride inside `mmtt`."""
    for path in SOURCES:
        application = path.relative_to(ROOT).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert application == "mmtt" or not [n for n in named if n.split(".")[0] == application], path

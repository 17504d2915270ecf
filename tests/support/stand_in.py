"""A stand-in for other people's programs: it speaks the command lines of E4S, of MAT and of our `job.json`.

What it paints follows from its own input alone (every colour turned into its opposite), so that a picture that comes
back under another's name is seen. How it misbehaves is written in the file `.behaviour` of its folder: words, or
`word digest` for the one target whose pixels have that SHA-256. `install` copies it to where each program has its
script.
"""

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image, ImageChops

SCRIPTS = ("forge_batch.py", "generate_image.py", "scripts/face_swap.py")


def install(models, name="program", behaviour=""):
    """Put the stand-in into a folder of models as a program with code, weights and an interpreter of its own."""
    folder = Path(models) / name
    files = {path: Path(__file__).read_text(encoding="utf-8") for path in SCRIPTS}
    files |= {"src/__init__.py": "", "model.bin": "weights", ".behaviour": behaviour}
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return folder


def pixels_sha256(image):
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def wants(word, image=None):
    """Whether it is to misbehave so; with a picture, only for that one or for all."""
    lines = [line.split() for line in Path(".behaviour").read_text(encoding="utf-8").splitlines() if line]
    meant = [line for line in lines if line[0] == word]
    return any(len(line) == 1 or (image is not None and line[1] == pixels_sha256(image)) for line in meant)


def grandchild(*session):
    """Start a process that would outlive us, and note its number; it holds our pipes open."""
    child = subprocess.Popen([*session, "sleep", "600"])
    with Path(".pids").open("a", encoding="utf-8") as handle:
        handle.write(f"{child.pid}\n{os.getpid()}\n")


def misbehave(image=None):
    if wants("flood"):
        for stream in (sys.stdout, sys.stderr):
            stream.write("x" * 3_000_000 + "\nthe last word\n")
    if wants("orphan"):
        grandchild("setsid")
    if wants("hang", image):
        grandchild()
        time.sleep(600)
    if wants("crash", image) or (wants("crash_first") and len(calls(Path())) == 1):
        print("out of memory, it says", file=sys.stderr)
        sys.exit(3)
    if wants("kill"):
        os.kill(os.getpid(), 9)


def save(image, path):
    """Write a picture, or something that only looks like one."""
    path = Path(path)
    if wants("missing"):
        return
    if wants("wrong_size"):
        image = image.resize((image.width // 2, image.height // 2))
    if wants("grey"):
        image = image.convert("L")
    if wants("sixteen"):
        image = image.convert("L").convert("I;16")
    if wants("palette"):
        image = image.convert("P")
    if wants("transparent"):
        image.putalpha(128)
    image.save(path, **({"format": "JPEG"} if wants("jpeg") else {"format": "PNG", "compress_level": 1}))
    data = path.read_bytes()
    if wants("truncated"):
        path.write_bytes(data[: len(data) // 2])
    if wants("link"):
        outside = Path("outside.png").resolve()
        outside.write_bytes(data)
        path.unlink()
        path.symlink_to(outside)
    if wants("hard_link"):
        os.link(path, path.parent.parent / f"twin {path.name}")
    if wants("pipe"):
        path.unlink()
        os.mkfifo(path)


def finish(outputs):
    """What it may do to the folder of outputs at the end."""
    if wants("extra"):
        (Path(outputs) / "thumbnail.png").write_bytes(b"")
    if wants("folder"):
        (Path(outputs) / "more").mkdir()
    if wants("moved"):
        Path(outputs).rename(Path(outputs).with_name("elsewhere"))
        Path(outputs).symlink_to(Path(outputs).with_name("elsewhere"))
    if wants("partial"):
        sys.exit(4)


def opposite(image):
    return ImageChops.invert(image)


def by_job(path):
    """Our own protocol, version 1."""
    folder = Path(path).parent
    told = json.loads(Path(path).read_text(encoding="utf-8"))
    assert told["protocol"] == 1
    Path(".told.json").write_text(json.dumps(told), encoding="utf-8")
    items = told["items"][::-1] if wants("reversed") else told["items"]
    for item in items[: len(items) // 2] if wants("partial") else items:
        target = Image.open(folder / item["target"]).convert("RGB")
        misbehave(target)
        if wants("lose", target):
            continue
        save(opposite(Image.open(folder / (item["source"] or item["target"])).convert("RGB")), folder / item["output"])
        if item["alpha"] and not wants("no_alpha"):
            alpha = Image.new("L", target.size, 0)
            alpha.paste(255, (target.width // 4, target.height // 4, target.width // 2, target.height // 2))
            alpha.save(folder / item["alpha"])
        (folder / item["log"]).write_text(f"forged with {item['parameters']}", encoding="utf-8")
        if wants("overwrite"):
            Image.new("RGB", (8, 8)).save(folder / item["target"])
            (folder / "job.json").write_text("{}", encoding="utf-8")
    finish(folder / "outputs")


def like_mat(args):
    """Pairs images with masks by the sorted order of two folders; 0 is the hole; sizes are multiples of 512."""
    images, masks = (
        [p for p in sorted(Path(d).iterdir()) if p.suffix in (".png", ".jpg")] for d in (args.dpath, args.mpath)
    )
    assert len(images) == len(masks) and Path(args.network).read_bytes()
    for image_path, mask_path in zip(images, masks, strict=True):
        image, mask = Image.open(image_path).convert("RGB"), Image.open(mask_path)
        assert image.width % args.resolution == 0 and image.size == mask.size and mask.mode == "L"
        assert {value for _, value in mask.getcolors()} <= {0, 255}
        misbehave(image)
        if not wants("lose", image):
            save(Image.composite(image, opposite(image), mask), Path(args.outdir) / image_path.name)
    finish(args.outdir)


def like_e4s(args):
    """Runs from its root, where `src` lies; takes a 512 px label map; writes RGBA unless it blends by bands."""
    importlib.import_module("src")  # E4S does, and it is not beside the script

    source, target = (Image.open(path).convert("RGB").resize((1024, 1024)) for path in (args.source, args.target))
    if args.target_mask:
        mask = Image.open(args.target_mask).convert("L")
        assert mask.size == (512, 512) and mask.getextrema()[1] <= 18
        mask.save(".mask.png")
    misbehave(target)
    done = target.copy()
    done.paste(opposite(source).crop((0, 512, 1024, 1024)), (0, 512))
    stems = [Path(path).name.split(".")[0] for path in (args.source, args.target)]
    save(done if args.lap_bld else done.convert("RGBA"), Path(args.output_dir) / f"swap_{stems[0]}_to_{stems[1]}.png")
    finish(args.output_dir)


def calls(folder):
    """The command lines with which it was called so far."""
    path = Path(folder) / ".calls"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def main():
    with Path(".calls").open("a", encoding="utf-8") as handle:
        handle.write(" ".join(sys.argv) + "\n")
    Path(".environment.json").write_text(json.dumps(dict(os.environ)), encoding="utf-8")
    parser = argparse.ArgumentParser()
    name = Path(sys.argv[0]).name
    if name == "forge_batch.py":
        parser.add_argument("job")
        return by_job(parser.parse_args().job)
    if name == "generate_image.py":
        for flag in ("network", "dpath", "mpath", "outdir"):
            parser.add_argument(f"--{flag}", required=True)
        parser.add_argument("--resolution", type=int, default=512)
        parser.add_argument("--trunc", type=float, default=1)
        parser.add_argument("--noise-mode", choices=["const", "random", "none"], default="const")
        return like_mat(parser.parse_args())
    for flag in ("source", "target", "output_dir"):
        parser.add_argument(f"--{flag}", required=True)
    parser.add_argument("--target_mask", default="")
    parser.add_argument("--lap_bld", action="store_true")
    parser.add_argument("--faceParser_name", default="default", choices=["default", "segnext"])
    return like_e4s(parser.parse_args())


if __name__ == "__main__":
    main()

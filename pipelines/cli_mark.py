"""Commands that mark pictures, and read the marks of any."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmtt.errors import MissingDependency, UserError
from mmtt.executors import executor
from mmtt.files import lock, write_atomically
from mmtt.progress import for_person
from mmtt.words import printable

from .cli_programs import AsJson, Workers

if TYPE_CHECKING:
    from .marking.credentials import Credentials

MOST_BYTES = 200_000_000
Release = Annotated[Path, typer.Argument(metavar="RELEASE", help="The folder of a release.")]
Certificate = Annotated[Path, typer.Option(metavar="PEM", help="Certificates: the signer's first, then those above.")]
Key = Annotated[Path, typer.Option(metavar="PEM", help="The signer's private key; only you may be able to read it.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `mmtt` command."""
    named = typer.Typer(help="Content credentials: write them, read them.", no_args_is_help=True)
    named.command("read")(read)
    named.command("certificate")(certificate)
    named.command("export")(export)
    named.command("picture")(picture)
    app.add_typer(named, name="mark")


def read(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture file.")],
    trust: Annotated[Path | None, typer.Option(metavar="PEM", help="Root certificates that you trust.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a picture's file says of itself, and whether that holds; exit with 3 unless it does."""
    from .marking.credentials import read as run
    from .marking.credentials import require_roots

    data, roots = _bytes(image), _bytes(trust).decode("ascii", "replace") if trust else ""
    with _about(trust):
        require_roots(roots)
    with _about(image):
        found = run(data, roots)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
    else:
        for line in told(found):
            typer.echo(printable(line))
    raise typer.Exit(0 if found.state == "valid" else 3)


@contextmanager
def _about(path: Path | None) -> Iterator[None]:
    """Say of which file it is what is wrong."""
    try:
        yield
    except MissingDependency:
        raise
    except UserError as error:
        raise UserError(f"{path}: {error}.") from None


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} is larger than {MOST_BYTES:,} bytes, so no picture that is read here.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from None


_WORDS = {
    "absent": "none: nobody vouches for this file, or they were stripped",
    "valid": "valid: the file is as it was when it was signed",
    "expired": "EXPIRED: the file is as it was, but the signer's certificate has ended since",
    "changed": "BROKEN: the file was changed after it was signed",
    "invalid": "INVALID: the signature does not hold",
}

_DOUBTS = {
    "changed": "what follows was said before it was changed, and may be true of it no longer",
    "invalid": "nobody vouches for what follows",
}


def told(found: "Credentials") -> list[str]:
    """Return what a picture's file says of itself, a line for each thing."""
    lines = [f"credentials  {_WORDS[found.state]}"]
    lines += [f"faults       {', '.join(found.faults)}"] if found.faults else []
    if found.signer:
        trust = "trusted" if found.trusted else "untrusted: nobody you trust says who that is"
        lines.append(f"signed by    {found.signer} ({trust})")
    if found.record is not None:
        said = found.record
        what = f"manipulated: {said.get('manipulation')}" if said.get("manipulated") else "not manipulated"
        lines.append(f"record       {said.get('record_id')} of {said.get('dataset')} {said.get('release')}, {what}")
    lines += [f"actions      {', '.join(found.actions)}"] if found.actions else []
    lines += [f"source type  {name}" for name in found.source_types]
    lines += [f"text         {found.text}"] if found.text is not None else []
    if found.state in _DOUBTS and len(lines) > 1:
        lines.insert(1, f"             {_DOUBTS[found.state]}")
    return lines


def certificate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write it.")],
    name: Annotated[str, typer.Option(help="Who signs, as readers will see it.")] = "mmtt trial signer",
) -> None:
    """Make a certificate and its key to try marking with; no trust list vouches for it, and readers say so."""
    from .marking.certificate import CERTIFICATE, DAYS, KEY, ROOT, make

    # A day back, because the day that a signer is checked on is the local one, and clocks differ.
    make(folder, name, datetime.now(UTC) - timedelta(days=1))
    typer.echo(f"{folder / CERTIFICATE} and {folder / KEY}: for {DAYS} days, and for trying; nobody trusts them.")
    typer.echo(f"{folder / ROOT}: for whoever is to trust them: mmtt mark read IMAGE --trust {folder / ROOT}")


def export(
    release: Release,
    certificate: Certificate,
    key: Key,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the shards; outside the release.")],
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Write every picture of a release with content credentials; `mmtt release` does so inside a new release."""
    from .marking.export import write_marked
    from .marking.keys import load_signer

    if release.resolve() in [out.resolve(), *out.resolve().parents]:
        raise UserError(f"--out {out} lies inside {release}, which is finished. Name another folder.")
    signer = load_signer(certificate, key, date.today())
    with lock(out):
        done = write_marked(release, out, signer, executor(workers), for_person("mark: shards"))
    if as_json:
        typer.echo(json.dumps(done._asdict()))
    else:
        rows = ", ".join(f"{split} {count}" for split, count in done.rows.items())
        typer.echo(f"{rows}: {len(done.signed)} shards signed, {len(done.kept)} kept, in {out}")


def picture(
    release: Release,
    record: Annotated[str, typer.Argument(metavar="RECORD", help="Its id.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The PNG to write.")],
    certificate: Certificate,
    key: Key,
) -> None:
    """Write one picture to be shown elsewhere: a forgery framed for people, any with content credentials."""
    from .marking.keys import load_signer
    from .marking.show import shown

    if out.is_dir():
        raise UserError(f"OUT names {out}, which is a folder. Name the PNG to write.")
    data = shown(release, record, load_signer(certificate, key, date.today()))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, data)
    typer.echo(f"{out}")

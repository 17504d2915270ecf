"""The demo: a page on this machine, where somebody drops a photo and sees what a trained model thinks of it.

Nothing leaves the machine and nothing is kept: uploads are removed as soon as they are read, results travel inside the
page, and a policy forbids the browser to ask any other host for anything.
"""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtt.errors import MissingDependency, Rejected, UserError
from mmtt.images import Rgb
from mmtt.regions import REGIONS

from . import opinion

if TYPE_CHECKING:
    from .export import Trained

UPLOAD_LIMIT = "30mb"
KEPT_S = 3600  # how long a photo stays in memory; Gradio keeps that of a closed page as long
SESSIONS = 16
# Gradio's pages run scripts and styles of their own, in line; nothing is fetched from anywhere else.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

_SCROLL = "() => setTimeout(() => document.getElementById('said')?.scrollIntoView({behavior: 'smooth'}), 100)"


def require_gradio() -> Any:
    """Import Gradio with everything off that would tell anybody of this machine.

    Raises:
        MissingDependency: it is not installed.
    """
    # Read when Gradio is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio
    except ImportError:
        raise MissingDependency("The demo needs Gradio: pip install 'mmtt[demo]'") from None
    return gradio


def require_free(host: str, port: int) -> None:
    """Refuse an address that cannot be served on.

    Raises:
        UserError: the port is taken, or the host is none of this machine's.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"{host}:{port} cannot be served on: {error.strerror or error}. Try another --port."
            ) from None


def page(trained: "Trained") -> Any:
    """Return the page for a model, which is on its device: Gradio's `Blocks`."""
    gr = require_gradio()
    with gr.Blocks(title="ForgeryTalker demo", analytics_enabled=False, delete_cache=(60, 60)) as blocks:
        photo = gr.State(None, time_to_live=KEPT_S)
        gr.HTML(opinion.text_html("head", about=about(trained)))
        upload, fault = _upload(gr)
        with gr.Column(visible=False, elem_id="seen") as seen:
            shown, table, words, ask = _seen(gr)
        said = gr.HTML(visible=False, elem_id="said")
        gr.HTML(opinion.text_html("foot"))
        quiet: Any = {"api_visibility": "private", "concurrency_id": "model", "concurrency_limit": 1}
        changed = [photo, upload, fault, seen, shown, table, words, said]
        upload.upload(_look(gr, trained), upload, changed, show_progress_on=upload, **quiet)
        told = _explain(gr, trained)
        asked = ask.click(told, [photo, words], [said, fault], show_progress_on=ask, **quiet)
        asked.then(None, js=_SCROLL)  # Gradio's own scrolling does not see what was hidden before
    return blocks


def about(trained: "Trained") -> str:
    """Return which model this is, in one sentence."""
    parts = trained.model.parts().values()
    size = sum(parameter.numel() for part in parts for parameter in part)
    which = f"ForgeryTalker “{trained.config.name}”, {trained.stage}, step {trained.step:,}"
    return f"{which}; {size:,} weights, trained on dataset {trained.run.dataset[:12]}…"


def _upload(gr: Any) -> tuple[Any, Any]:
    gr.HTML(opinion.text_html("photo_step"))
    # No component for pictures: it would decode a stranger's bytes without our limits.
    upload = gr.File(type="filepath", label="A photo", show_label=False, height=130, elem_id="upload")
    return upload, gr.HTML(visible=False, elem_id="fault")


def _seen(gr: Any) -> tuple[Any, Any, Any, Any]:
    gr.HTML(opinion.text_html("regions_step"))
    with gr.Row(equal_height=False, elem_classes="mt-row"):
        with gr.Column(min_width=320):
            shown = gr.HTML(elem_id="photo")
        with gr.Column(min_width=320):
            table = gr.HTML(elem_id="regions")
    words = gr.CheckboxGroup(list(REGIONS), label="Regions to talk about", elem_id="words")
    return shown, table, words, gr.Button("Explain", variant="primary", elem_id="explain")


def _look(gr: Any, trained: "Trained") -> Callable[[str | None], list[Any]]:
    """Return what happens when a photo was dropped: it is read, removed, shown, and its regions are scored."""

    def look(path: str | None) -> list[Any]:
        try:
            square = opinion.read_square(_taken(path))
        except Rejected as rejected:
            hidden = gr.update(visible=False)
            return [None, None, _shown(gr, opinion.fault_html(opinion.why_not(rejected))), hidden, "", "", [], hidden]
        regions, threshold = opinion.suspected(trained.model, square), trained.config.model.prompter.threshold
        return [
            square,
            None,
            gr.update(visible=False, value=""),
            gr.update(visible=True),
            opinion.photo_html(square),
            opinion.regions_html(regions, threshold),
            [word for word in REGIONS if regions[word] > threshold],
            gr.update(visible=False, value=""),
        ]

    return look


def _taken(path: str | None) -> bytes:
    """Return an uploaded file's bytes and remove it: nothing of a stranger's stays on the disk.

    Raises:
        Rejected: `gone`; two people who drop the same photo share one file.
    """
    try:
        data = Path(path or "").read_bytes()
    except OSError as error:
        raise Rejected("gone", str(error)) from error
    Path(path or "").unlink(missing_ok=True)
    return data


def _explain(gr: Any, trained: "Trained") -> Callable[[Rgb | None, Sequence[str]], list[Any]]:
    """Return what happens when somebody asks for the model's opinion about the photo that is shown."""

    def explain(square: Rgb | None, words: Sequence[str]) -> list[Any]:
        if square is None:
            told = "The photo is no longer in memory. Drop it again."
            return [gr.update(visible=False), _shown(gr, opinion.fault_html(told))]
        said = opinion.explain(trained.model, trained.config.generation, square, words)
        return [_shown(gr, opinion.opinion_html(square, said)), gr.update(visible=False, value="")]

    return explain


def _shown(gr: Any, html: str) -> Any:
    return gr.update(visible=True, value=html)


@contextmanager
def served(trained: "Trained", host: str, port: int) -> Iterator[str]:
    """Serve the page of a model, which is on its device, and yield its address.

    On the way out the server is closed, and whatever was uploaded is gone.
    """
    gr = require_gradio()
    css = (resources.files(__package__ or "") / "templates" / "demo.css").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="mmtt-demo-") as uploads, _environment("GRADIO_TEMP_DIR", uploads):
        blocks = page(trained)  # its components note where uploads go
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            max_file_size=UPLOAD_LIMIT,
            state_session_capacity=SESSIONS,
            theme=_theme(gr),
            css=css,
            app_kwargs={"middleware": [_policy()]},
        )
        try:
            yield address
        finally:
            blocks.close(verbose=False)


def _theme(gr: Any) -> Any:
    """Return the toolkit's colours, and the system's own fonts: Gradio's come from elsewhere."""
    base = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    colours = {
        "button_primary_background_fill": "#1d5a86",
        "button_primary_background_fill_hover": "#174a6e",
        "button_primary_text_color": "white",
        "checkbox_background_color_selected": "#1d5a86",
        "checkbox_border_color_selected": "#1d5a86",
    }
    return base.set(**colours, **{f"{name}_dark": colour for name, colour in colours.items()})


def _policy() -> Any:
    """Return a middleware that adds the content security policy to every answer."""
    from starlette.middleware import Middleware

    return Middleware(_Policy)


class _Policy:
    """Pure ASGI: a streamed answer passes through as it comes."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

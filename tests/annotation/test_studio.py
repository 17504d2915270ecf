import http.server
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from faulty_proxy import Fault, proxy

from annotation.server.connection import Connection
from annotation.sync.calls import Ambiguous
from annotation.sync.studio import Studio
from mmtt.errors import UserError
from tests.annotation import desks


def refusal(connection: Connection, **options) -> str:
    with pytest.raises(UserError) as told, Studio(connection, **options):
        pass
    return str(told.value)


def test_a_wrong_token_is_a_sentence_that_does_not_hold_it(server):
    told = refusal(Connection(server.url, "f" * 40))
    assert "refuses the token" in told and "LABEL_STUDIO_API_KEY" in told and "f" * 40 not in told


def test_nobody_at_the_address():
    assert "does not answer" in refusal(Connection("http://127.0.0.1:9", "f" * 40))


def test_another_server_at_the_address():
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<h1>Something else</h1>")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        told = refusal(Connection(f"http://127.0.0.1:{other.server_address[1]}", "f" * 40))
        other.shutdown()
    assert "Label Studio" in told and "address" in told


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (b'"release":"1.23.2"', b'"release":"2.0.0"', "Label Studio Community 2.0.0"),
        (b'"edition":"Community"', b'"edition":"Enterprise"', "Label Studio Enterprise 1.23.2"),
    ],
)
def test_a_server_of_another_version_or_edition_is_named(server, before, after, words):
    def changed(body: bytes) -> bytes:
        assert before in body.replace(b'": "', b'":"')
        return body.replace(b'": "', b'":"').replace(before, after)

    with proxy(server.url) as between:
        between.expect(Fault("GET", "/api/version", changed, times=9))
        told = refusal(Connection(between.url, server.token))
    assert words in told and "--any-version" in told


def test_another_version_can_be_tried_all_the_same(server):
    with proxy(server.url) as between:
        between.expect(Fault("GET", "/api/version", lambda body: body.replace(b"1.23.2", b"1.99.0"), times=9))
        with Studio(Connection(between.url, server.token), any_version=True) as studio:
            assert studio.version == "1.99.0"


def test_a_write_that_was_not_answered_is_ambiguous_and_one_that_was_refused_is_not(server, studio, queue):
    with proxy(server.url) as between, Studio(Connection(between.url, server.token)) as far:
        between.expect(Fault("POST", "/import", "lose"))
        with pytest.raises(Ambiguous):
            far.add(queue.project.id, [{"image": "x", "zoom": "y", "key": "k"}])
        assert len(studio.index(queue.project.id)) == 1
        with pytest.raises(UserError, match="answers 400"):
            far.add(queue.project.id, [{"another": "thing"}])
        assert sum(path.endswith("/import") or "/import?" in path for _, path in between.requests) == 2


def test_deleting_what_is_gone_is_no_error(studio):
    studio.delete_task(99_999_999)
    studio.delete_annotation(99_999_999)


def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    import os

    kept = {k: v for k, v in os.environ.items() if not k.startswith("LABEL_STUDIO")}
    run = [sys.executable, "-m", "mmtt", "annotate", *words]
    return subprocess.run(
        run, capture_output=True, text=True, env=kept | variables, cwd=Path(__file__).parents[2], check=False
    )


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_on_the_command_line_each_of_these_is_one_sentence_and_nothing_is_lost(tmp_path, server, verb):
    layout = desks.dataset(tmp_path / "data", photos=2)
    log = layout.root / "private" / "annotation" / "log.sqlite"
    desks.push(layout)
    before = log.read_bytes()
    wrong = {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": "e" * 40}
    nobody = {"LABEL_STUDIO_URL": "http://127.0.0.1:9", "LABEL_STUDIO_API_KEY": "e" * 40}
    gone = {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": server.token}
    for variables, words in (
        ({}, "No Label Studio is known"),
        (wrong, "refuses the token"),
        (nobody, "does not answer"),
        (gone, "has no project 'describe'"),
    ):
        done = command(verb, str(layout.root), **variables)
        assert done.returncode == 2, done.stdout + done.stderr
        assert words in done.stderr and "Traceback" not in done.stderr
        assert "e" * 40 not in done.stderr and server.token not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert log.read_bytes() == before


def test_another_protocol_after_people_were_asked_is_refused(tmp_path, server):
    layout = desks.dataset(tmp_path / "data", photos=2)
    desks.push(layout)
    layout.recipe.write_text(layout.recipe.read_text().replace("annotate:", "annotate:\n  protocol: paper"))
    there = {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": server.token}
    done = command("push", str(layout.root), "--dry-run", **there)
    assert done.returncode == 2 and "asked under the protocol 'blind_then_verified'" in done.stderr

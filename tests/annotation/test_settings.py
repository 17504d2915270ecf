import re
from pathlib import Path

import yaml

from annotation.server import settings
from annotation.server.environment import VERSION
from annotation.server.serve import CURATOR
from annotation.server.settings import CLOSED, SETTINGS, laptop

ANNOTATION = Path(settings.__file__).parent
COMPOSE = yaml.safe_load((ANNOTATION / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
STUDIO = SERVICES["studio"]["environment"]
NGINX = (ANNOTATION / "nginx.conf").read_text(encoding="utf-8")


def test_the_team_has_the_laptops_settings():
    assert {name: STUDIO.get(name) for name in SETTINGS} == dict(SETTINGS)
    assert STUDIO["LABEL_STUDIO_USERNAME"] == CURATOR
    assert SERVICES["studio"]["image"] == f"heartexlabs/label-studio:{VERSION}"


def test_nothing_of_the_parent_reaches_the_server(monkeypatch, tmp_path):
    for name in (
        "PYTHONPATH",
        "PYTHONHOME",
        "LABEL_STUDIO_API_KEY",
        "LABEL_STUDIO_DEBUG",
        "SECRET_KEY",
        "DJANGO_DB",
        "HTTPS_PROXY",
    ):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("TMPDIR", "/scratch")
    given = laptop(tmp_path / "studio", tmp_path / "pictures")
    assert "leaked" not in given.values()
    assert given["TMPDIR"] == "/scratch"
    assert given["HOME"] == given["LABEL_STUDIO_BASE_DATA_DIR"] == str(tmp_path / "studio")
    assert given["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == str(tmp_path / "pictures")
    assert {name: given[name] for name in CLOSED} == dict(CLOSED)


def test_the_team_has_no_default_password():
    """Each secret must be given; a service does not start with an empty one."""
    secret = re.compile(r"\$\{(MMTT_\w+):\?[^}]+\}")
    for name in ("LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_USER_TOKEN", "POSTGRE_PASSWORD"):
        assert secret.fullmatch(STUDIO[name]), name
    assert SERVICES["database"]["environment"]["POSTGRES_PASSWORD"] == "${MMTT_DATABASE_PASSWORD}"
    text = (ANNOTATION / "compose.yaml").read_text(encoding="utf-8")
    demanded = set(secret.findall(text))
    assert set(re.findall(r"\$\{(\w+)", text)) == demanded
    assert ":-" not in text


def test_the_teams_images_are_pinned():
    for service in SERVICES.values():
        assert re.search(r":\d+\.\d+[\w.-]*$", service["image"])


def test_only_the_gate_is_reached_and_only_from_this_machine():
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"gate"}
    assert SERVICES["gate"]["ports"] == ["127.0.0.1:8080:8080"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("studio", "database"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_the_teams_server_reads_pictures_and_nothing_else_of_the_dataset():
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    named = set(COMPOSE["volumes"])
    from_outside = [mount for mount in mounts if mount.partition(":")[0] not in named]
    assert from_outside == ["${MMTT_PICTURES}:${MMTT_PICTURES}:ro", "./nginx.conf:/etc/nginx/nginx.conf:ro"]
    assert STUDIO["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"].startswith("${MMTT_PICTURES:?")


def test_the_gate_sends_browsers_nowhere_else():
    policy = re.search(r'Content-Security-Policy "([^"]+)"', NGINX).group(1)
    sources = {source for directive in policy.split(";") for source in directive.split()[1:]}
    assert sources == {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}
    assert re.search(r"location /heidi-tips \{\s+return 404;", NGINX)
    assert re.findall(r"(?:proxy_pass|set \$studio) (\S+);", NGINX) == ["http://studio:8000", "$studio"]

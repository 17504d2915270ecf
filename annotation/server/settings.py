"""How Label Studio is set up, on a laptop and for a team: `serve` and `compose.yaml` hold the same.

Label Studio 1.23.2 reads each of these with or without its prefix. What leaves the machine by itself is: usage data to
tele.labelstud.io and Google, errors to Sentry, the newest version from PyPI, and (no setting turns it off) tips from
GitHub whenever somebody opens the page to log in. For the last one the laptop has `CLOSED`, the team nginx.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

SETTINGS: Mapping[str, str] = MappingProxyType({
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_DEBUG": "false",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_CORS_ALLOW_ALL_ORIGINS": "false",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",  # read when the first user is made: else its token is refused
    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
    "LABEL_STUDIO_TASK_LOCK_TTL": "7200",  # seconds; by default who leaves a task open keeps it for a day
})  # fmt: skip

# Every request to the outside goes to a port where nobody listens, and fails at once.
CLOSED: Mapping[str, str] = MappingProxyType({
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
})  # fmt: skip

_INHERITED = ("LD_LIBRARY_PATH", "TMPDIR")  # without them some machines' Python does not start, or finds no room


def laptop(studio: Path, pictures: Path) -> dict[str, str]:
    """Return the whole environment of a server on this machine's loopback, without its first user.

    Hardly anything is taken over from the parent: a `PYTHONPATH` or a `LABEL_STUDIO_…` would change the server.

    Args:
        studio: its data; also its home, so that nothing is written elsewhere.
        pictures: the only folder whose files it may show.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        **SETTINGS,
        **CLOSED,
        "LABEL_STUDIO_BASE_DATA_DIR": str(studio),
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(pictures),
        "LABEL_STUDIO_ALLOWED_HOSTS": "127.0.0.1,localhost",
        "HOME": str(studio),
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }

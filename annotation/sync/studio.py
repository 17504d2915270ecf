"""The one place that talks to Label Studio: calls of its SDK, turned into plain facts."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from mmtt.errors import MissingDependency, UserError

from ..server.connection import Connection
from .calls import TRIES, Calls, ServerFault, unless_gone

TESTED = "1.23"
TIMEOUT_S = 120.0
PAGE_ROWS = 5000
EXPORT_IDS = 900  # the server refuses more than 1,000 fields in a request


@dataclass(frozen=True, slots=True)
class Remote:
    """One task as the server lists it. `key` is None for a task that is none of ours."""

    id: int
    key: str | None
    data: Mapping[str, Any]
    overlap: int
    annotations: int  # skipped ones too
    updated: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """One project as the server tells it."""

    id: int
    title: str
    description: str
    config: str
    instruction: str
    maximum: int
    tasks: int


class Studio:
    """A Label Studio Community server; a context, which closes its connections."""

    def __init__(self, connection: Connection, *, any_version: bool = False) -> None:
        """Connect, and make sure that it is a server which this was tested with.

        Raises:
            UserError: nobody answers, the token is refused, another edition or version. MissingDependency: no SDK.
        """
        self.url = connection.url
        self._calls = Calls(self.url)
        self._http, self._api = _client(connection)
        try:
            self.version, self.user_id = self._acquainted(any_version)
        except BaseException:
            self.close()
            raise

    def _acquainted(self, any_version: bool) -> tuple[str, int]:
        """The server's version, and the number of the user whom the token belongs to."""
        versions = self._calls.read("the version", self._api.versions.get)
        version = str(getattr(versions, "release", None) or "")
        edition = getattr(versions, "edition", None)
        if not version:
            raise UserError(f"{self.url} answers, but not as Label Studio does. Mend the address.")
        if edition != "Community" or not (any_version or version.startswith(f"{TESTED}.")):
            hint = f"This was tested with Label Studio Community {TESTED}; --any-version tries it all the same."
            raise UserError(f"{self.url} is Label Studio {edition} {version}. {hint}")
        return version, int(self._calls.read("who the token belongs to", self._api.users.whoami).id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    @property
    def api(self) -> Any:
        """The SDK's own client, for what is done once and by people."""
        return self._api

    def projects(self) -> list[Project]:
        """Return every project that the token may see."""
        return self._calls.read("the projects", lambda: [_project(p) for p in self._api.projects.list(page_size=100)])

    def project(self, number: int) -> Project:
        """Return one project.

        Raises:
            UserError: it was deleted.
        """
        return self._calls.read(f"project {number}", lambda: _project(self._api.projects.get(number)), number)

    def create_project(self, **settings: Any) -> int:
        """Create a project and return its number. May be `Ambiguous`."""
        return int(self._calls.write("creating a project", lambda: self._api.projects.create(**settings).id))

    def configure(self, number: int, **settings: Any) -> None:
        """Change settings of a project. May be `Ambiguous`."""
        self._calls.write(f"changing project {number}", lambda: self._api.projects.update(number, **settings), number)

    def serve_folder(self, number: int, path: str) -> None:
        """Let the tasks of a project show pictures of a folder, as the server's machine names it; once is enough."""
        storages = self._api.import_storage.local
        known = self._calls.read("the folders of pictures", lambda: storages.list(project=number), number)
        if path not in [storage.path for storage in known]:
            self._calls.write("naming the folder of pictures", lambda: self._create_storage(number, path), number)

    def _create_storage(self, number: int, path: str) -> None:
        self._api.import_storage.local.create(project=number, path=path, title="pictures", use_blob_urls=True)

    def index(self, number: int) -> list[Remote]:
        """Return every task of a project, each once, though pages come twice or are shifted by a deletion.

        Raises:
            UserError: the project was deleted, or the server's list never agrees with its own count.
        """
        for _ in range(TRIES):
            found = {remote.id: remote for remote in self._list(number)}
            if len(found) == self.project(number).tasks:
                return [found[task_id] for task_id in sorted(found)]
            time.sleep(0.5)
        raise UserError(
            f"{self.url} lists {len(found)} tasks of project {number}, but counts others. Run the command again."
        )

    def changed(self, number: int, since: datetime) -> list[Remote]:
        """Return the tasks of a project whose annotations changed at or after a moment of the server's clock."""
        # Without microseconds the server fails.
        moment = since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        condition = {"filter": "filter:tasks:updated_at", "operator": "greater_or_equal", "type": "Datetime"}
        query = {"filters": {"conjunction": "and", "items": [{**condition, "value": moment}]}}
        return [*{remote.id: remote for remote in self._list(number, query)}.values()]

    def _list(self, number: int, query: Mapping[str, Any] | None = None) -> list[Remote]:
        wanted = {
            "project": number,
            "page_size": PAGE_ROWS,
            "fields": "task_only",
            "include": "id,data,overlap,updated_at,total_annotations,cancelled_annotations",
        }
        if query:
            wanted["query"] = json.dumps(query)
        return self._calls.read(
            f"the tasks of project {number}", lambda: [_remote(t) for t in self._api.tasks.list(**wanted)], number
        )

    def export(self, number: int, task_ids: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        """Yield some tasks with their annotations as the server stores them, in chunks.

        Deleted tasks are left out, and so is one that the server itself cannot export (an annotation that holds half a
        character, for instance): the chunk is halved down to it, so that it keeps back no other.
        """
        for start in range(0, len(task_ids), EXPORT_IDS):
            yield from self._exported(number, task_ids[start : start + EXPORT_IDS])

    def _exported(self, number: int, ids: Sequence[int]) -> Iterator[list[dict[str, Any]]]:
        try:
            yield self._calls.read(f"annotations of project {number}", lambda: self._export(number, ids), number)
        except ServerFault:
            if len(ids) > 1:
                for half in (ids[: len(ids) // 2], ids[len(ids) // 2 :]):
                    yield from self._exported(number, half)

    def _export(self, number: int, ids: Sequence[int]) -> list[dict[str, Any]]:
        # The SDK's own `ids` goes out under a name that the server overlooks: it would export everything.
        options = {"additional_query_parameters": {"ids[]": [str(i) for i in ids]}, "timeout_in_seconds": TIMEOUT_S}
        answered = self._api.projects.exports.download_sync(
            id=number, export_type="JSON", download_all_tasks=True, request_options=options
        )
        tasks = json.loads(b"".join(answered))
        if not isinstance(tasks, list) or {task["id"] for task in tasks} - set(ids):
            raise ValueError("the export holds other tasks than were asked for")
        return tasks

    def add(self, number: int, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Import tasks in one request. May be `Ambiguous`."""
        from label_studio_sdk.types import ImportApiRequest

        request = [ImportApiRequest(data=dict(body)) for body in bodies]
        self._calls.write(f"adding tasks to project {number}", lambda: self._import(number, request), number)

    def _import(self, number: int, request: Sequence[Any]) -> None:
        self._api.projects.import_tasks(id=number, request=request, return_task_ids=True)

    def set_overlap(self, task_id: int, people: int) -> None:
        """Say how many people a task wants. May be `Ambiguous`, and is harmless to repeat."""
        # The SDK does not know the field; the Community server does.
        extra = {"additional_body_parameters": {"overlap": people}}
        self._calls.write(
            f"changing task {task_id}", lambda: self._api.tasks.update(str(task_id), request_options=extra)
        )

    def set_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace what a task shows. May be `Ambiguous`, and is harmless to repeat."""
        self._calls.write(f"changing task {task_id}", lambda: self._api.tasks.update(str(task_id), data=dict(data)))

    def is_answered(self, task_id: int) -> bool:
        """Whether a task has annotations by now."""
        task = self._calls.read(f"task {task_id}", lambda: self._api.tasks.get(str(task_id)))
        return bool((task.total_annotations or 0) + (task.cancelled_annotations or 0))

    def delete_task(self, task_id: int) -> None:
        """Delete a task and all its annotations. May be `Ambiguous`; one that is gone already is no error."""
        self._calls.write(f"deleting task {task_id}", lambda: unless_gone(self._api.tasks.delete, str(task_id)))

    def delete_annotation(self, number: int) -> None:
        """Delete an annotation. May be `Ambiguous`; one that is gone already is no error."""
        self._calls.write(f"deleting annotation {number}", lambda: unless_gone(self._api.annotations.delete, number))

    def snapshots(self, number: int) -> list[int]:
        """Return the numbers of a project's snapshots: copies of all tasks and answers that somebody had made."""
        listed = self._calls.read("the snapshots", lambda: self._api.projects.exports.list(number), number)
        return [int(snapshot.id) for snapshot in listed]

    def delete_snapshot(self, number: int, snapshot: int) -> None:
        """Delete a snapshot and its file. May be `Ambiguous`; one that is gone already is no error."""
        exports = self._api.projects.exports
        self._calls.write(f"deleting snapshot {snapshot}", lambda: unless_gone(exports.delete, number, snapshot))


def _client(connection: Connection) -> tuple[Any, Any]:
    """The connections, and the SDK's client that uses them."""
    try:
        import httpx
        from label_studio_sdk import LabelStudio
    except ImportError:
        raise MissingDependency("Label Studio's SDK is not installed: pip install 'mmtt[annotation]'") from None
    # A proxy that the environment names cannot reach a server on this machine.
    http = httpx.Client(timeout=TIMEOUT_S, follow_redirects=True, trust_env=not connection.local)
    try:
        return http, LabelStudio(base_url=connection.url, api_key=connection.token, max_retries=0, httpx_client=http)
    except Exception as error:  # a token that is none
        told = f"The token for {connection.url} is none that Label Studio gives"
        raise UserError(f"{told} ({type(error).__name__}).") from None


def _remote(task: Any) -> Remote:
    data = task.data if isinstance(task.data, Mapping) else {}
    key = data.get("key")
    count = (task.total_annotations or 0) + (task.cancelled_annotations or 0)
    return Remote(task.id, key if isinstance(key, str) else None, data, task.overlap or 1, count, task.updated_at)


def _project(project: Any) -> Project:
    return Project(
        project.id,
        project.title or "",
        project.description or "",
        project.label_config or "",
        project.expert_instruction or "",
        project.maximum_annotations or 1,
        project.task_number or 0,
    )


def keyed(remotes: Iterable[Remote]) -> dict[str, list[Remote]]:
    """Group tasks by our key, in order of their number; tasks that are none of ours are left out."""
    found: dict[str, list[Remote]] = {}
    for remote in remotes:
        if remote.key is not None:
            found.setdefault(remote.key, []).append(remote)
    return found

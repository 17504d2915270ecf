"""What talking to a real Label Studio costs at 20,000 tasks: a push, an incremental pull, a full reconcile.

The server runs on the same machine and shares its cores. Pictures are not made: their addresses are enough.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from annotation.answers import Kind
from annotation.log import Log, New
from annotation.protocols import StageName, View
from annotation.server.serve import running
from annotation.sync import projects
from annotation.sync import pull as sync_pull
from annotation.sync.projects import Setup, setup
from annotation.sync.pull import LOOK_BACK, pull
from annotation.sync.push import Answered, Queue, push
from annotation.sync.studio import Studio
from annotation.tasks import Task, key_of
from mmtt.progress import silent

TASKS = 20_000
SHARED = 0.1
CHANGES = 100
TEXT = "The left eye is smeared and its lower edge is doubled; the pupil has no highlight at all."


def main(count: int = TASKS) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as connection, Studio(connection) as studio:
        print(f"\nannotation: {count:,} tasks on a real server (goals at 20,000: push 60 s, 100 changes 5 s, all 60 s)")
        log = Log(Path(folder) / "log.sqlite")
        pushing = queue(studio, log, "pushed")
        told("push", lambda: push(pushing, tasks(count), Answered()))
        told("push again, nothing to do", lambda: push(pushing, tasks(count), Answered()))
        log.close()
        answered = Log(Path(folder) / "answered.sqlite")
        fill(studio, queue(studio, answered, "answered"), tasks(count))
        told("full reconcile, all answers new", lambda: pull(studio, answered, "answered", full=True))
        told("full reconcile, nothing new", lambda: pull(studio, answered, "answered", full=True))
        change(studio, answered)
        told(f"{CHANGES} changes, all tasks made just now", lambda: pull(studio, answered, "answered"))
        change(studio, answered)
        # As it is ever after: what was made more than `LOOK_BACK` ago is not listed again.
        sync_pull.LOOK_BACK = timedelta(0)
        told(f"{CHANGES} changes, all tasks older than {LOOK_BACK}", lambda: pull(studio, answered, "answered"))
        answered.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  peak memory of this process, everything above: {peak:.0f} MiB (goal < 1024)")


def told(what: str, act: Callable[[], Any]) -> None:
    """Do something once and print how long it took."""
    began = time.perf_counter()
    found = act()
    counts = found.counts() if hasattr(found, "counts") else found
    print(f"  {what}: {time.perf_counter() - began:.1f} s; {counts}", flush=True)


def queue(studio: Studio, log: Log, marker: str) -> Queue:
    """Return an empty queue on the server."""
    made: Setup = setup("describe", marker, "blind_then_verified", "en")
    return Queue("describe", studio, log, projects.ensure(studio, log, made, marker), "/pictures/", silent)


def tasks(count: int) -> list[Task]:
    """Return that many tasks, a tenth of them for two people."""
    return [
        Task(
            key=key_of("bench", number),
            project="describe",
            record_id=f"{number:024x}",
            image_sha256="0" * 64,
            stage=StageName.DESCRIBE,
            kind=Kind.ORDINARY,
            people=2 if number < SHARED * count else 1,
            sees=(View.IMAGE,),
            protocol="blind_then_verified",
        )
        for number in range(count)
    ]


def fill(studio: Studio, into: Queue, made: list[Task]) -> None:
    """Put tasks with an answer each on the server, by its import: nobody waits for 20,000 people."""
    from label_studio_sdk.types import ImportApiRequest

    result = [
        {"from_name": "verdict", "to_name": "image", "type": "choices", "value": {"choices": ["visible"]}},
        {"from_name": "regions", "to_name": "image", "type": "choices", "value": {"choices": ["eye", "pupil"]}},
        {"from_name": "report", "to_name": "image", "type": "textarea", "value": {"text": [TEXT]}},
    ]
    into.log.append(New("task", task.key, {"project": "describe"}, task.facts) for task in made)
    for start in range(0, len(made), 1000):
        answers = [{"result": result, "lead_time": 75.0}]
        request = [ImportApiRequest(data=t.data("/p/"), annotations=answers) for t in made[start : start + 1000]]
        studio.api.projects.import_tasks(id=into.project.id, request=request)


def change(studio: Studio, log: Log) -> None:
    """Edit a hundred answers, as their authors would."""
    number = projects.known(log)["describe"]
    ids = [remote.id for remote in studio.index(number)[:CHANGES]]
    for exported in studio.export(number, ids):
        for task in exported:
            annotation = task["annotations"][0]
            studio.api.annotations.update(id=annotation["id"], lead_time=annotation["lead_time"] + 1)


if __name__ == "__main__":
    main()

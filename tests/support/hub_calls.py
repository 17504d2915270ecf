"""The calls that the loopback Hub answers: what `huggingface_hub` 2.4 sends, and what it reads in the answers."""

import base64
import datetime
import email.utils
import hashlib
import json
import re
import urllib.parse
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.support.hub_store import MAIN, Entry, Refusal, Repo, is_large

if TYPE_CHECKING:
    from tests.support.hub import Handler

PAGE = 40  # entries of a tree on one page: small, so that pages are turned
_REPO = r"/(?:api/)?datasets/(?P<repo>[\w.-]+/[\w.-]+)"
_REV = r"(?P<rev>[^/]+)"


def whoami(call: "Handler") -> None:
    if call.account is None:
        raise Refusal(401, None, "Invalid username or password.")
    role = {"displayName": "loopback", "role": call.account.role}
    orgs = [{"name": name, "roleInOrg": "write"} for name in call.account.namespaces]
    auth = {"type": "access_token", "accessToken": role}
    call.json({"type": "user", "name": call.account.name, "auth": auth, "orgs": orgs})


def create_repo(call: "Handler") -> None:
    told = json.loads(call.body())
    if call.account is None:
        raise Refusal(401, None, "Invalid username or password.")
    name = f"{told.get('organization') or call.account.name}/{told['name']}"
    if name in call.hub.repos:
        raise Refusal(409, None, "You already created this dataset repo")
    if not call.account.may_write(name):
        raise Refusal(403, None, "Forbidden: you have no rights to create a repository there")
    with call.hub.lock:
        private = told.get("visibility") == "private"
        call.hub.repos[name] = Repo(name, call.hub.folder / name.replace("/", "__"), private)
    call.json({"url": f"{call.hub.url}/datasets/{name}", "name": name})


def settings(call: "Handler", repo: str) -> None:
    told, found = json.loads(call.body()), call.writing(repo)
    found.gated = told.get("gated", found.gated)
    found.private = told["visibility"] == "private" if "visibility" in told else found.private
    call.json(told)


def info(call: "Handler", repo: str, rev: str = "main") -> None:
    found = call.reading(repo)
    commit = found.at(rev)
    siblings = [{"rfilename": path, "size": entry.size, "blobId": entry.blob} for path, entry in commit.tree.items()]
    call.json({
        "_id": "0", "id": repo, "sha": commit.id, "private": found.private, "gated": found.gated, "siblings": siblings,
        "createdAt": now(), "lastModified": now(), "tags": [], "downloads": 0, "likes": 0, "cardData": None,
    })  # fmt: skip


def auth_check(call: "Handler", repo: str) -> None:
    call.writing(repo)
    call.json({})


def refs(call: "Handler", repo: str) -> None:
    found = call.reading(repo)
    kinds = {"branches": "refs/heads/", "tags": "refs/tags/", "converts": "refs/convert/", "pullRequests": "refs/pr/"}
    listed = {
        kind: [{"name": name, "ref": prefix + name, "targetCommit": id_} for name, id_ in found.named(prefix).items()]
        for kind, prefix in kinds.items()
    }
    call.json(listed)


def commits(call: "Handler", repo: str, rev: str) -> None:
    call.json([
        {"id": commit.id, "authors": [{"user": "curator"}], "date": now(),
         "title": commit.title, "message": commit.message}
        for commit in call.reading(repo).history(rev)
    ])  # fmt: skip


def tree(call: "Handler", repo: str, rev: str, path: str = "") -> None:
    entries = call.reading(repo).at(rev).tree
    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    below = {name.removeprefix(prefix): entry for name, entry in entries.items() if name.startswith(prefix)}
    if prefix and not below:
        raise Refusal(404, "EntryNotFound", f"{path} does not exist on {rev}")
    deep = call.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    listed = [_file(prefix + name, entry) for name, entry in below.items() if deep or "/" not in name]
    folders = {"/".join(parts[:n]) for name in below if (parts := name.split("/")) for n in range(1, len(parts))}
    listed += [_folder(prefix + name) for name in folders if deep or "/" not in name]
    listed.sort(key=lambda item: item["path"])
    start = int(call.query.get("cursor", ["0"])[0])
    following = {"cursor": start + PAGE, "recursive": deep}
    link = f'<{call.hub.url}{urllib.parse.urlsplit(call.path).path}?{urllib.parse.urlencode(following)}>; rel="next"'
    call.json(listed[start : start + PAGE], headers={"Link": link} if start + PAGE < len(listed) else None)


def paths_info(call: "Handler", repo: str, rev: str) -> None:
    asked, entries = urllib.parse.parse_qs(call.body().decode()).get("paths", []), call.reading(repo).at(rev).tree
    found = [_file(path, entries[path]) for path in asked if path in entries]
    call.json(found + [_folder(path) for path in asked if any(name.startswith(f"{path}/") for name in entries)])


def branch(call: "Handler", repo: str, rev: str) -> None:
    told, found, ref = json.loads(call.body() or b"{}"), call.writing(repo), f"refs/heads/{rev}"
    if ref in found.refs:
        raise Refusal(409, None, f"Reference already exists: {ref}")
    found.refs[ref] = found.at(told.get("startingPoint", "main")).id
    call.json({})


def tag(call: "Handler", repo: str, rev: str) -> None:
    told, found = json.loads(call.body()), call.writing(repo)
    ref = f"refs/tags/{told['tag']}"
    if ref in found.refs:
        raise Refusal(409, None, f"Tag reference exists already: {ref}")
    found.refs[ref] = found.at(rev).id
    call.json({})


def delete_ref(kind: str):
    def action(call: "Handler", repo: str, rev: str) -> None:
        found, ref = call.writing(repo), f"refs/{kind}/{rev}"
        if ref == MAIN:
            raise Refusal(403, None, "Cannot delete the main branch")
        if found.refs.pop(ref, None) is None:
            raise Refusal(404, "RevisionNotFound", f"Reference does not exist: {ref}")
        call.json({})

    return action


def preupload(call: "Handler", repo: str, rev: str) -> None:
    entries, files = call.writing(repo).at(rev).tree, []
    for told in json.loads(call.body())["files"]:
        mode = "lfs" if is_large(told["path"], told["size"]) else "regular"
        entry = entries.get(told["path"])
        oid = entry and (entry.sha256 or entry.blob)
        files.append({"path": told["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    call.json({"files": files})


def lfs_batch(call: "Handler", repo: str) -> None:
    found, objects = call.writing(repo), []
    for told in json.loads(call.body())["objects"]:
        answer = {"oid": told["oid"], "size": told["size"]}
        if not found.large(told["oid"]).is_file():
            put = {"href": f"{call.hub.url}/lfs/{repo}/{told['oid']}"}
            verify = {"href": f"{call.hub.url}/lfs-verify/{repo}/{told['oid']}"}
            answer["actions"] = {"upload": put, "verify": verify}
        objects.append(answer)
    call.json({"transfer": "basic", "objects": objects})


def lfs_put(call: "Handler", repo: str, oid: str) -> None:
    found, digest = call.hub.repos[repo], hashlib.sha256()
    temporary = found.folder / f".{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as file:
            for data in call.chunks():
                digest.update(data)
                file.write(data)
        if digest.hexdigest() != oid:
            raise Refusal(400, None, "the content is not what its digest says")
        temporary.replace(found.large(oid))
    finally:
        temporary.unlink(missing_ok=True)
    call.send(b"", headers={"ETag": f'"{oid}"'})


def lfs_verify(call: "Handler", repo: str, oid: str) -> None:
    told, path = json.loads(call.body()), call.writing(repo).large(oid)
    if not path.is_file() or path.stat().st_size != told["size"]:
        raise Refusal(400, None, "the object is not there")
    call.json({})


def commit(call: "Handler", repo: str, rev: str) -> None:
    lines = [json.loads(line) for line in call.body().splitlines()]
    found, ref = call.writing(repo), rev if rev.startswith("refs/") else f"refs/heads/{rev}"
    header = lines[0]["value"]
    with call.hub.lock:
        if ref not in found.refs:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        if header.get("parentCommit") not in (None, found.refs[ref]):
            raise Refusal(412, None, "A commit has happened since. Please refresh and try again.")
        entries = found.commits[found.refs[ref]].tree
        for line in lines[1:]:
            entries = _applied(found, entries, line["key"], line["value"])
        made = found.commit(ref, entries, header["summary"], header.get("description", ""))
    url = f"{call.hub.url}/datasets/{repo}/commit/{made.id}"
    call.json({"success": True, "commitUrl": url, "commitOid": made.id})


def _applied(repo: Repo, entries: dict[str, Entry], key: str, value: dict) -> dict[str, Entry]:
    path = value["path"]
    if key == "file":
        return repo.put(entries, path, base64.b64decode(value["content"]))
    if key == "lfsFile":
        return repo.put_large(entries, path, value["oid"])
    gone = {
        name for name in entries if name == path or (key == "deletedFolder" and name.startswith(path.rstrip("/") + "/"))
    }
    if not gone:
        raise Refusal(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
    return {name: entry for name, entry in entries.items() if name not in gone}


def resolve(call: "Handler", repo: str, rev: str, path: str) -> None:
    found = call.reading(repo)
    commit = found.at(rev)
    entry = commit.tree.get(path)
    if entry is None:
        raise Refusal(404, "EntryNotFound", f"{path} does not exist on {rev}")
    account = call.account
    if found.gated and not (account and (account.reading_of(repo) or account.name in found.requests["accepted"])):
        raise Refusal(403 if account else 401, "GatedRepo", f"Access to dataset {repo} is restricted.")
    content = found.content(entry)
    if not content.is_file():
        raise Refusal(404, "EntryNotFound", "the file was deleted")
    etag = f'"{entry.sha256 or entry.blob}"'
    headers = {
        "ETag": etag,
        "X-Repo-Commit": commit.id,
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
    }
    if entry.sha256:
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(entry.size)}
    _send_file(call, content, {**headers, "Last-Modified": email.utils.formatdate(0, usegmt=True)})


def _send_file(call: "Handler", content: Path, headers: dict[str, str]) -> None:
    size = content.stat().st_size
    start, end, status = 0, size - 1, 200
    if asked := re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("Range") or ""):
        first, last = asked.groups()
        start = int(first) if first else size - int(last)
        end = min(int(last), size - 1) if first and last else size - 1
        if start >= size:
            raise Refusal(416, None, "Range not satisfiable")
        status, headers["Content-Range"] = 206, f"bytes {start}-{end}/{size}"
    call.send_response(status)
    for name, value in {**headers, "Content-Length": str(end - start + 1)}.items():
        call.send_header(name, value)
    call.end_headers()
    if call.command == "HEAD":
        return
    with content.open("rb") as file:
        file.seek(start)
        left = end - start + 1
        while left > 0 and (data := file.read(min(left, 1 << 16))):
            call.wfile.write(data)
            left -= len(data)


def lfs_files(call: "Handler", repo: str) -> None:
    found = call.writing(repo)
    call.json([
        {"fileOid": sha256, "filename": name, "oid": sha256, "size": found.large(sha256).stat().st_size,
         "pushedAt": now(), "ref": MAIN}
        for sha256, name in found.pushed.items()
    ])  # fmt: skip


def delete_lfs(call: "Handler", repo: str) -> None:
    told, found = json.loads(call.body())["deletions"], call.writing(repo)
    gone = set(told["sha"])
    with call.hub.lock:
        for sha256 in gone:
            found.drop_large(sha256)
        if told["rewriteHistory"]:
            found.rewrite(lambda entry: entry.sha256 not in gone)
    call.json({})


def super_squash(call: "Handler", repo: str, rev: str) -> None:
    told, found = json.loads(call.body()), call.writing(repo)
    with call.hub.lock:
        found.commit(f"refs/heads/{rev}", found.at(rev).tree, told["message"], parent=False)
        found.forget_unreachable()
    call.json({})


def discussions(call: "Handler", repo: str) -> None:
    status, kind = call.query.get("status", ["all"])[0], call.query.get("type", ["all"])[0]
    listed = [
        item for item in call.reading(repo).discussions
        if status in ("all", item["status"]) and kind in ("all", "pull_request")
    ]  # fmt: skip
    call.json({"count": len(listed), "start": 0, "discussions": listed})


def discussion_status(call: "Handler", repo: str, number: str) -> None:
    told = json.loads(call.body())
    call.writing(repo).discussions[int(number) - 1]["status"] = told["status"]
    event = {"id": "0", "type": "status-change", "createdAt": now(), "author": {"name": "curator"}}
    call.json({"newStatus": {**event, "data": {"status": told["status"]}}})


def access_requests(call: "Handler", repo: str, status: str) -> None:
    listed = call.writing(repo).requests[status]
    call.json([
        {"requestId": name, "status": status, "timestamp": now(),
         "user": {"user": name, "fullname": name.title(), "email": f"{name}@example.org"}}
        for name in listed
    ])  # fmt: skip


def validate_yaml(call: "Handler") -> None:
    text = json.loads(call.body())["content"]
    try:
        front = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else None
    except yaml.YAMLError as error:
        call.json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return
    warnings = [] if isinstance(front, dict) else [{"message": "empty or missing yaml metadata in repo card"}]
    call.json({"errors": [], "warnings": warnings})


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _file(path: str, entry: Entry) -> dict:
    told = {"type": "file", "path": path, "oid": entry.blob, "size": entry.size}
    large = entry.sha256 and {"oid": entry.sha256, "size": entry.size, "pointerSize": 134}
    return {**told, "lfs": large} if large else told


def _folder(path: str) -> dict:
    return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}


ROUTES = [
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/repos/create", create_repo),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("PUT", f"{_REPO}/settings", settings),
    ("GET", _REPO, info),
    ("GET", f"{_REPO}/revision/{_REV}", info),
    ("GET", f"{_REPO}/auth-check/write", auth_check),
    ("GET", f"{_REPO}/refs", refs),
    ("GET", f"{_REPO}/commits/{_REV}", commits),
    ("GET", f"{_REPO}/tree/{_REV}(?P<path>/.*)?", tree),
    ("POST", f"{_REPO}/paths-info/{_REV}", paths_info),
    ("POST", f"{_REPO}/branch/{_REV}", branch),
    ("DELETE", f"{_REPO}/branch/{_REV}", delete_ref("heads")),
    ("POST", f"{_REPO}/tag/{_REV}", tag),
    ("DELETE", f"{_REPO}/tag/{_REV}", delete_ref("tags")),
    ("POST", f"{_REPO}/preupload/{_REV}", preupload),
    ("POST", f"{_REPO}\\.git/info/lfs/objects/batch", lfs_batch),
    ("PUT", r"/lfs/(?P<repo>[\w.-]+/[\w.-]+)/(?P<oid>\w+)", lfs_put),
    ("POST", r"/lfs-verify/(?P<repo>[\w.-]+/[\w.-]+)/(?P<oid>\w+)", lfs_verify),
    ("POST", f"{_REPO}/commit/{_REV}", commit),
    ("GET", f"{_REPO}/resolve/{_REV}/(?P<path>.+)", resolve),
    ("HEAD", f"{_REPO}/resolve/{_REV}/(?P<path>.+)", resolve),
    ("GET", f"{_REPO}/lfs-files", lfs_files),
    ("POST", f"{_REPO}/lfs-files/batch", delete_lfs),
    ("POST", f"{_REPO}/super-squash/{_REV}", super_squash),
    ("GET", f"{_REPO}/discussions", discussions),
    ("POST", f"{_REPO}/discussions/(?P<number>\\d+)/status", discussion_status),
    ("GET", f"{_REPO}/user-access-request/(?P<status>\\w+)", access_requests),
]

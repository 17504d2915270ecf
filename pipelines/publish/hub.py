"""The Hub: one dataset repository there, and what goes wrong with it as a sentence.

Nothing here holds a token: `huggingface_hub` reads it (HF_TOKEN, or the stored login) for each call.
"""

import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from mmtt.errors import MissingDependency, UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"
_LEAST = (2, 4)  # uploads that go on where they ended
_INSTALL = "pip install 'mmtt[hub]'"
KIND = "dataset"
_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_TOKEN = re.compile(r"(hf|api)_\w{6,}|(?i:bearer) \S+")
_NO_SPACE = re.compile(r"storage|quota|disk|no space", re.IGNORECASE)
_LOGIN = "Make one with write rights at huggingface.co/settings/tokens, and put it into HF_TOKEN or `hf auth login`."


class RemoteFile(NamedTuple):
    """A file as the Hub lists it. sha256: of a large file's content; of a small one only git's own id is known."""

    size: int
    sha256: str | None
    blob: str


class Refs(NamedTuple):
    """Every name of a commit: branches, tags, pull requests, and what the Hub's viewer makes; name or ref to commit."""

    branches: dict[str, str]
    tags: dict[str, str]
    pulls: dict[str, str]
    converts: dict[str, str]

    def everything(self) -> dict[str, str]:
        """Return all of them, as revisions that can be asked for."""
        return {**self.branches, **self.tags, **self.pulls, **self.converts}


class Remote:
    """A dataset repository on the Hub, whether it is there yet or not.

    Raises:
        MissingDependency: `huggingface_hub` is absent or too old. UserError: no name of a repository.
    """

    def __init__(self, repo: str) -> None:
        if not _NAME.fullmatch(repo):
            raise UserError(f"'{repo}' is no name of a repository. Give OWNER/NAME.")
        self.repo = repo
        self.api = _api()

    def require_rights(self) -> None:
        """Ask whether this token may write to the repository, or make it.

        Raises:
            UserError: there is no token, the Hub does not know it, or it has no such right.
        """
        with self.said("to ask whose token this is"):
            told = self.api.whoami()
        token = (told.get("auth") or {}).get("accessToken") or {}
        if token.get("role") == "read":
            raise UserError(f"The token of '{told['name']}' may only read. {_LOGIN}")
        if self.info() is not None:
            with self.said("to write there"):
                self.api.auth_check(self.repo, repo_type=KIND, write=True)
        elif token.get("role") != "fineGrained" and self.repo.split("/")[0] not in _namespaces(told):
            raise UserError(self._sentence(403, "", "to make the repository"))

    def info(self) -> Any | None:
        """Return what the Hub says of the repository; None where there is none, or none that this token may see."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with self.said("to look at it"):
            try:
                return self.api.dataset_info(self.repo)
            except RepositoryNotFoundError:
                return None

    def refs(self) -> Refs:
        """Return its branches, tags and other refs."""
        with self.said("to list its versions"):
            told = self.api.list_repo_refs(self.repo, repo_type=KIND, include_pull_requests=True)
        named = [{ref.name: ref.target_commit for ref in refs} for refs in (told.branches, told.tags)]
        full = [{ref.ref: ref.target_commit for ref in refs or ()} for refs in (told.pull_requests, told.converts)]
        return Refs(named[0], named[1], full[0], full[1])

    def tree(self, revision: str) -> dict[str, RemoteFile]:
        """Return the files of a revision by path; those that git keeps for itself are left out."""
        from huggingface_hub.errors import RevisionNotFoundError
        from huggingface_hub.hf_api import RepoFile

        listed = None
        with self.said("to list its files"), suppress(RevisionNotFoundError):
            listed = list(self.api.list_repo_tree(self.repo, recursive=True, revision=revision, repo_type=KIND))
        if listed is None:
            raise UserError(f"{self.repo} has no revision '{revision}'. Name a tag, a branch or a commit that it has.")
        files = [item for item in listed if isinstance(item, RepoFile) and item.path != ".gitattributes"]
        return {item.path: RemoteFile(item.size, item.lfs.sha256 if item.lfs else None, item.blob_id) for item in files}

    def commits(self, revision: str) -> list[tuple[str, str]]:
        """Return id and title of each commit that leads to a revision, newest first."""
        with self.said("to read its history"):
            return [
                (item.commit_id, item.title)
                for item in self.api.list_repo_commits(self.repo, repo_type=KIND, revision=revision)
            ]

    @contextmanager
    def fetched(self, path: str, revision: str) -> Iterator[Path]:
        """Yield a folder with one file of a revision in its place, and nothing else; it is removed afterwards."""
        with TemporaryDirectory() as folder:
            with self.said(f"to fetch {path}"):
                self.api.hf_hub_download(self.repo, path, repo_type=KIND, revision=revision, local_dir=folder)
            shutil.rmtree(Path(folder, ".cache"), ignore_errors=True)  # what the library notes of it
            yield Path(folder)

    def create(self, private: bool) -> None:
        """Make the repository.

        Raises:
            UserError: no rights to make one there.
        """
        with self.said("to make the repository"):
            self.api.create_repo(self.repo, repo_type=KIND, private=private)

    def configure(self, **settings: Any) -> None:
        """Change settings of the repository, such as `gated`."""
        with self.said("to change its settings"):
            self.api.update_repo_settings(self.repo, repo_type=KIND, **settings)

    def upload(self, folder: Path, paths: Sequence[str], branch: str, title: str) -> None:
        """Upload files of a folder to a branch. What an upload that was killed had sent is not sent again."""
        with self.said("to upload"):
            self.api.upload_folder(
                repo_id=self.repo,
                repo_type=KIND,
                folder_path=folder,
                allow_patterns=list(paths),
                revision=branch,
                commit_message=title,
            )

    @contextmanager
    def said(self, doing: str) -> Iterator[None]:
        """Turn what goes wrong with the Hub within this block into a sentence.

        Args:
            doing: what was tried, as `to upload`.
        """
        from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

        try:
            yield
        except LocalTokenNotFoundError as error:
            raise UserError(f"There is no token for the Hub. {_LOGIN}") from error
        except UnicodeEncodeError:  # of the line that holds it, which the error would quote
            raise UserError(f"The token for the Hub has a character that tokens do not have. {_LOGIN}") from None
        except OfflineModeIsEnabled as error:
            raise UserError(f"HF_HUB_OFFLINE is set, so {self.repo} cannot be reached. Unset it.") from error
        except (HfHubHTTPError, RuntimeError, OSError, ValueError) as error:
            if isinstance(error, (RuntimeError, ValueError)) and not _of_the_library(error):
                raise
            # An upload in threads wraps what the Hub answered.
            answered = next((found for found in _causes(error) if isinstance(found, HfHubHTTPError)), None)
            if answered is not None and answered.response is not None:
                raise UserError(self._sentence(answered.response.status_code, clean(str(answered)), doing)) from None
            raise UserError(f"{self.repo}: it failed {doing}: {clean(str(error))} {_AGAIN}") from None
        except Exception as error:
            if not _of_the_network(error):
                raise
            raise UserError(f"{self.api.endpoint} cannot be reached ({type(error).__name__}). {_AGAIN}") from None

    def _sentence(self, status: int, message: str, doing: str) -> str:
        """Return what an answer means; `message` holds no token."""
        tried = f"while trying {doing}"
        if status in (402, 413, 507) or (status == 403 and _NO_SPACE.search(message)):
            return f"The Hub has no more space for {self.repo} ({status} {tried}). Free some, or ask for more; {_LATER}"
        told = {
            401: f"The Hub does not know this token, or {self.repo} needs one ({tried}). {_LOGIN}",
            403: f"This token has no right {doing} ({self.repo}). Ask its owner, or use another token. {_LOGIN}",
            404: f"{self.repo}, or what was looked for in it, is not on {self.api.endpoint} ({tried}). Check the name.",
            409: f"{self.repo} already has that, or is being changed ({tried}). {_AGAIN}",
            412: f"'{MAIN}' of {self.repo} changed meanwhile; nothing was published. {_AGAIN}",
            429: f"The Hub takes no more calls for now ({tried}). Wait some minutes; {_LATER}",
        }
        return told.get(status, f"The Hub answered {status} {tried}: {message} {_AGAIN}")


_AGAIN = "Run the command again: it goes on where it ended."
_LATER = "then run the command again: it goes on where it ended."


def clean(text: str) -> str:
    """Return a message on one line, cut, without anything that looks like a token."""
    token = os.environ.get("HF_TOKEN", "").strip()
    text = text.replace(token, "…") if token else text
    line = _TOKEN.sub("…", " ".join(text.split()) or "no reason given")
    return line[:300].rstrip(".") + "."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _namespaces(told: dict[str, Any]) -> set[str]:
    """Return where somebody may make repositories; of a fine-grained token the Hub does not tell it so."""
    return {told["name"], *(org["name"] for org in told.get("orgs") or ())}


def _of_the_library(error: Exception) -> bool:
    """Whether it came up within `huggingface_hub`, which raises plain errors, too; any other is a bug of ours."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__", "").split(".")[0] == "huggingface_hub" for frame, _ in frames)


def _of_the_network(error: Exception) -> bool:
    """Whether the HTTP library raised it; which one that is changes with `huggingface_hub`."""
    return any(type(found).__module__.split(".")[0].startswith("httpx") for found in _causes(error))


def _api() -> "HfApi":
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingDependency(f"Publishing needs huggingface_hub: {_INSTALL}.") from error
    found = version("huggingface_hub")
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < _LEAST:
        least = ".".join(map(str, _LEAST))
        raise MissingDependency(
            f"huggingface_hub {found} cannot go on with an upload that ended; {least} can: {_INSTALL}."
        )
    _silence_bars()
    return HfApi(library_name="mmtt")


def _silence_bars() -> None:
    """Silence the library's bars where nobody watches standard error, unless its own variable says otherwise."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    if constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not sys.stderr.isatty():
        disable_progress_bars()

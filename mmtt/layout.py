"""Where things lie in a dataset's directory. The one place that knows.

DIR/
  recipe.yaml  sources.csv  photos/  landmarks.json     what the curator brings
  parsing/                                              part masks, where the photos' origin ships them
  identities.csv                                        which faces are one person, where embeddings doubt
  pristine/  forged/                                    shards, manifests, rejections
  plan/splits.parquet  plan/plan.parquet  plan/basis    what was decided, and from what
  private/lineage.parquet  private/salt                 never published,
  private/pristine/  private/forged/                    nor are the side tables of each shard,
  private/identities.html                               nor the page that asks who is who
  degraded/  private/degraded/                          variants of the shards above, and their side tables
  overview.html                                         what came out
  audits.json  audits.html                              what the audits found
  private/fingerprints/                                 perceptual hashes of every picture
  private/annotation/  private/annotation.html          who is asked what, what they answered; the curator's page
  reports/                                              the reports that count, and what was refused
  datasheet.toml                                        what the curator says of the whole
  releases/                                             what was or is to be published: see `mmtt.release`
  private/denied.csv                                    who may not come back
  private/removals/                                     a removal that is under way
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.release import is_release


@dataclass(frozen=True)
class Layout:
    """The paths of one dataset."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The recipe."""
        return self.root / "recipe.yaml"

    @property
    def photos(self) -> Path:
        """The photos, in any folders below."""
        return self.root / "photos"

    @property
    def landmarks(self) -> Path:
        """Landmarks that the origin ships."""
        return self.root / "landmarks.json"

    @property
    def parsing(self) -> Path:
        """Part masks that the origin ships, in folders as the photos'."""
        return self.root / "parsing"

    @property
    def pristine(self) -> Path:
        """Pristine shards."""
        return self.root / "pristine"

    @property
    def plan(self) -> Path:
        """Splits, plan and what it refused."""
        return self.root / "plan"

    @property
    def forged(self) -> Path:
        """Forged shards."""
        return self.root / "forged"

    @property
    def degraded(self) -> Path:
        """Degraded variants of pristine and forged shards."""
        return self.root / "degraded"

    @property
    def lineage(self) -> Path:
        """Which photo each pristine record came from."""
        return self.root / "private" / "lineage.parquet"

    @property
    def identities(self) -> Path:
        """The curator's decisions on who is who."""
        return self.root / "identities.csv"

    @property
    def identities_page(self) -> Path:
        """The page that shows pairs of faces to look at. It holds names and faces: private."""
        return self.lineage.parent / "identities.html"

    @property
    def splits(self) -> Path:
        """Which pristine record is in which split."""
        return self.plan / "splits.parquet"

    @property
    def annotation_page(self) -> Path:
        """The page that shows a curator each annotator's work: private."""
        return self.root / "private" / "annotation.html"

    @property
    def audits(self) -> Path:
        """What the audits found, as JSON."""
        return self.root / "audits.json"

    @property
    def audits_page(self) -> Path:
        """What the audits found, as a page."""
        return self.root / "audits.html"

    @property
    def overview(self) -> Path:
        """The picture report."""
        return self.root / "overview.html"


def locate(path: Path) -> Layout:
    """Return the layout of a dataset named by its directory or by its recipe.

    Raises:
        UserError: there is no recipe, or it is a release.
    """
    root = path.parent if path.is_file() else path
    if is_release(root):
        raise UserError(f"{root} is a release, which nothing is made in or from. Name the dataset's own directory.")
    layout = Layout(root)
    if not layout.recipe.is_file():
        raise UserError(f"{layout.recipe} does not exist. `mmtt init {root}` starts a dataset there.")
    if path.is_file() and path.name != layout.recipe.name:
        raise UserError(f"{path}: a dataset's recipe is called recipe.yaml, in the dataset's own directory.")
    return layout


def salt(layout: Layout) -> str:
    """Return the secret that keeps group ids from being guessed; made on first use.

    It decides `group_id` and buckets: two machines that are to make the same bytes must share it.

    Raises:
        UserError: it holds no secret, or is missing though something was ingested with it.
    """
    path = layout.root / "private" / "salt"
    if not path.exists():
        if any(layout.pristine.glob("*.parquet")):
            hint = "Restore it, or remove pristine/ and plan/ to begin anew."
            raise UserError(f"{path} is missing; without it every group id, bucket and split would change. {hint}")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, secrets.token_hex(16).encode())
    secret = path.read_text(encoding="utf-8", errors="backslashreplace").strip()
    if not secret:
        raise UserError(f"{path} is empty. Restore it, or remove it and {layout.pristine} to start with a new one.")
    return secret

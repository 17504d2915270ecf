"""L4: a person in two splits whom no name ties, found by embeddings of identity.

Which cosine two strangers reach depends on the embedder and on the faces, so it is calibrated on pairs of this very
dataset that are known to differ (`pipelines.embeddings.calibrate`), of train alone: whether names tell pairs across
splits apart is just what is asked, and if many people were in both, theirs would lift the threshold above themselves.
A false-alarm rate of 1 in 1,000 pairs is too lax: a test face meets every train face, and of 10,000 strangers ten lie
above that. So the rate is 1 in 1,000 *test faces*. There are too few pairs to count anything so rare; its cosine is
carried on from those of 1 in 100 and 1 in 1,000 pairs as an exponential tail. The cosines of strangers fall off faster,
so this errs towards silence.

The gate is ten times that rate, so that a dataset without anybody in two splits passes; a share, so that chance does
not fail a large one; and its interval counts people, because one who happens to resemble another does so in each of his
photos. Whoever it names is worth a look below the gate, too.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.evidence import Evidence
from mmtt.layout import Layout
from mmtt.recipe import IdentitySection

from ...decisions import Decisions, read_decisions
from ...embeddings import Calibration, Faces, TooFewPairs, calibrate, faces_of, read_lineage
from ...neighbours import BLOCK_VALUES, Indices
from ..shares import grouped_share

ALARM_RATE = 1e-3
ALARM_GATE = 0.01


class Thresholds(NamedTuple):
    """Cosines that strangers exceed: once in 1,000 pairs, and once in 1,000 faces that meet a whole split."""

    of_pairs: Calibration
    of_faces: float


def judge_identities(evidence: Evidence) -> Finding:
    """Return the share of test faces that look like a train face of another component, more than strangers do.

    Faces are pristine. Pairs that the curator has told apart in `identities.csv` do not count.
    """
    faces, split = _faces(evidence)
    test, train = (np.flatnonzero(split[faces.at] == name) for name in ("test", "train"))
    if not len(test) or not len(train):
        raise NotApplicable("Embeddings of identity are missing in test or in train.")
    limits = _thresholds(replace(faces, at=faces.at[train], vectors=faces.vectors[train]))
    nearest, cosine = _nearest(faces, test, train, _decisions(evidence, faces))
    alarmed = np.flatnonzero(cosine > limits.of_faces)
    order = alarmed[np.argsort(-cosine[alarmed], kind="stable")]
    share = grouped_share(cosine > limits.of_faces, np.ones(len(test)), faces.group[faces.at[test]])
    return Finding(
        statistic=share.value,
        low=share.low,
        high=share.high,
        n=len(test),
        of="test faces",
        sentence=f"{len(alarmed):,} of {len(test):,} test faces look like a person in train "
        f"(cosine above {limits.of_faces:.3f}).",
        details={
            "cosine that 1 in 1,000 test faces exceeds": limits.of_faces,
            "cosine that 1 in 1,000 pairs exceed": limits.of_pairs.threshold,
            "test faces above that of pairs": int((cosine > limits.of_pairs.threshold).sum()),
            "pairs in train that are known to differ": limits.of_pairs.different,
            "train faces": len(train),
            "largest cosine": float(cosine.max()),
        },
        worst=tuple(
            _example(faces, int(test[place]), int(nearest[place]), float(cosine[place]))
            for place in order[:MOST_EXAMPLES]
        ),
    )


def _faces(evidence: Evidence) -> tuple[Faces, npt.NDArray[np.str_]]:
    """Pristine faces with an embedding, and the split of each of their rows."""
    missing = NotApplicable("No embeddings of identity. `mmtt ingest` stores them with an embedder in the recipe.")
    path = Layout(evidence.root).lineage
    if evidence.lineage.empty or evidence.lineage["embedding"].isna().all():
        raise missing
    split_of = dict(zip(evidence.pristine["record_id"], evidence.pristine["split"], strict=True))
    faces = faces_of(*read_lineage(path), split_of)
    if not len(faces.at):
        raise missing
    return faces, np.array([split_of[row.record_id] for row in faces.rows])


def _thresholds(faces: Faces) -> Thresholds:
    """Calibrate on the faces of train; a test face meets each of them."""
    try:
        rare = calibrate(faces, IdentitySection(false_alarm_rate=ALARM_RATE))
        common = calibrate(faces, IdentitySection(false_alarm_rate=10 * ALARM_RATE))
    except TooFewPairs as few:
        raise NotApplicable(str(few)) from few
    decades = np.log10(len(faces.at))
    return Thresholds(rare, float(rare.threshold + decades * (rare.threshold - common.threshold)))


def _decisions(evidence: Evidence, faces: Faces) -> Decisions:
    return read_decisions(Layout(evidence.root).identities, [row.record_id for row in faces.rows], faces.person)


def _nearest(
    faces: Faces, test: Indices, train: Indices, decisions: Decisions
) -> tuple[Indices, npt.NDArray[np.float32]]:
    """For each test face the train face that is most alike and not known to be its own or another's, and the cosine.

    What shares a group is L1's. Positions are among the faces with an embedding; blocks keep memory flat.
    """
    found, cosines = [], []
    step = max(1, BLOCK_VALUES // len(train))
    for start in range(0, len(test), step):
        some = test[start : start + step]
        cosine = faces.vectors[some] @ faces.vectors[train].T
        groups = faces.group[faces.at]
        cosine[groups[some][:, None] == groups[train]] = -1
        while True:
            best = cosine.argmax(axis=1)
            top = cosine[np.arange(len(some)), best]
            told = (top > -1) & decisions.decided(faces.at[some], faces.at[train[best]])
            if not told.any():
                break
            cosine[told, best[told]] = -1
        found.append(train[best])
        cosines.append(top)
    return np.concatenate(found), np.concatenate(cosines)


def _example(faces: Faces, test: int, train: int, cosine: float) -> Example:
    first, second = (faces.rows[faces.at[place]].record_id for place in (test, train))
    return Example(first, f"looks like the person of a record in train (cosine {cosine:.3f})", second)

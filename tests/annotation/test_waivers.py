import pytest

from annotation.desk import open_desk
from annotation.waivers import reject, waive
from mmtt.errors import UserError
from tests.annotation import desks

NAMED = {"regions": ("nose",), "report": "Looks like Tom Hanks; the nose is blurred at its edge."}


@pytest.fixture
def named(tmp_path):
    """A dataset with one report that names somebody, and the report's uid."""
    layout = desks.dataset(tmp_path / "data", photos=2, overlap=1, quality={"ignore": ["dwell", "parallel", "pasted"]})
    desks.enrol(layout, desks.person("ann", 1), desks.person("ben", 2))
    task = next(task for task in desks.push(layout) if task.project == "describe")
    return layout.root, desks.answer(layout, task, by=1, **NAMED)


def rules(root, uid):
    with open_desk(root) as desk:
        return {finding.rule for finding in desk.findings if finding.uid == uid}


def decide(root, what, *words):
    with open_desk(root, write=True) as desk:
        what(desk, *words)


def test_a_waived_finding_does_not_count_as_long_as_the_answer_stays(named):
    root, uid = named
    assert "identity" in rules(root, uid)
    decide(root, waive, uid, "identity", "a public figure, and the recipe allows it")
    assert "identity" not in rules(root, uid)
    with open_desk(root, write=True) as desk:
        event = next(e for e in desk.log.events("answer") if e.subject == uid)
        desk.log.append(
            [desks.New("answer", uid, event.header, {**event.payload, "result": event.payload["result"] * 2})]
        )
    assert "identity" in rules(root, uid)


def test_a_rejected_answer_is_asked_of_somebody_else(named):
    root, uid = named
    decide(root, reject, uid, "nonsense")
    with open_desk(root) as desk:
        (key,) = {answer.task_key for answer in desk.answers}
        assert desk.standing.status[uid] == "abandoned" and desk.standing.wasted == {key: 1}


@pytest.mark.parametrize(
    ("what", "words", "told"),
    [
        (waive, ("nobody", "identity", "why"), "No rule found anything about an answer 'nobody'"),
        (waive, ("", "identiti", "why"), "Did you mean 'identity'"),
        (waive, ("", "identity", " "), "Say with --why"),
        (reject, ("nobody", "why"), "There is no answer 'nobody'"),
        (reject, ("", ""), "Say with --why"),
    ],
)
def test_a_decision_about_nothing_is_refused(named, what, words, told):
    root, uid = named
    with pytest.raises(UserError, match=told):
        decide(root, what, words[0] or uid, *words[1:])

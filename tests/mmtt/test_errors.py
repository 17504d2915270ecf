import pickle

import pytest

from mmtt import errors
from mmtt.errors import MmttError, Rejected, UserError


@pytest.mark.parametrize("name", ["RecipeError", "SchemaError", "LockedError", "MissingDependency"])
def test_what_the_user_can_mend_is_one_kind(name):
    assert issubclass(getattr(errors, name), UserError)


def test_a_rejection_is_no_mistake_of_the_user():
    assert not issubclass(Rejected, UserError)
    assert issubclass(Rejected, MmttError)


@pytest.mark.parametrize(
    "error", [Rejected("no_face", "why"), Rejected("no_face"), Rejected("a", "b", log="c"), UserError("why")]
)
def test_errors_come_back_whole_from_a_worker_process(error):
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_a_rejection_reads_as_code_and_sentence():
    assert str(Rejected("no_face", "nobody is there")) == "no_face: nobody is there"
    assert str(Rejected("no_face")) == "no_face"
    assert str(Rejected("no_face", "why", log="what the program said")) == "no_face: why"

"""A run that was killed ends with the same file as one that was not."""

import contextlib
import io
import shutil
from functools import partial

import numpy as np
import pytest

from dcz.errors import BadPlan, FileAccess
from tests.train.samples import clusters, perceptron

torch = pytest.importorskip("torch")

from dcz.train import (
    Recipe,
    checkpoint,
    retrain,
)

RECIPE = Recipe(
    sparsity=0.9, bits=3, epochs=3, share_epochs=2, batch=100, reassign=0.01, bias_bits=4, threads=1, score="gradient"
)  # fmt: skip
X, Y = clusters(300)


class Killed(Exception):
    pass


def killer(phase: str, epoch: int, batch: int | None = None):
    """A progress callback that fails at the end of an epoch, or at a batch of it."""

    def tell(state):
        at = (state.phase, state.epoch, state.is_end) == (phase, epoch, batch is None)
        if at and batch in (None, state.batch):
            raise Killed

    return tell


def run(folder, progress=lambda state: None, proto=None, data=X, labels=Y, recipe=RECIPE, **options):
    return retrain(
        perceptron() if proto is None else proto, folder / "net.dcz", data, labels=labels, recipe=recipe,
        checkpoint=folder / "net.checkpoint", progress=progress, **options, force=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: what it returns, and its file."""
    folder = tmp_path_factory.mktemp("whole")
    found = run(folder)
    assert not (folder / "net.checkpoint").exists()
    return found, (folder / "net.dcz").read_bytes()


@pytest.fixture(scope="module")
def first_epoch(tmp_path_factory):
    """The checkpoint of a run that was stopped after its first epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Killed):
        run(folder, killer("prune", 1))
    assert [path.name for path in folder.iterdir()] == ["net.checkpoint"]
    return folder / "net.checkpoint"


@pytest.fixture
def stopped(first_epoch, tmp_path):
    """A folder with such a checkpoint."""
    shutil.copy(first_epoch, tmp_path)
    return tmp_path


@pytest.mark.parametrize("kills", [
    [("prune", 2, 1)], [("prune", 3)], [("share", 0, 2)], [("share", 2)], [("prune", 1), ("prune", 2), ("share", 1)],
])  # fmt: skip
def test_a_killed_run_resumes_to_the_same_bytes(kills, whole, tmp_path):
    for kill in kills:
        with pytest.raises(Killed):
            run(tmp_path, killer(*kill))
    epochs = []
    found = run(tmp_path, lambda state: epochs.append((state.phase, state.epoch)) if state.is_end else None)
    assert (tmp_path / "net.dcz").read_bytes() == whole[1] and not (tmp_path / "net.checkpoint").exists()
    assert (found.before, found.after, found.epochs, found.sparsity) == (
        whole[0].before, whole[0].after, whole[0].epochs, whole[0].sparsity,
    )  # fmt: skip
    assert ("prune", 1) not in epochs


@pytest.mark.parametrize("change", [
    {"recipe": Recipe(sparsity=0.9, bits=4, epochs=3)},
    {"proto": perceptron(seed=1)},
    {"data": X + 1}, {"data": X[:-1], "labels": Y[:-1]}, {"data": X.astype(np.float64)}, {"labels": Y[::-1].copy()},
    {"validation": (X[:50], Y[:50])},
    {"loss": "distill"},
])  # fmt: skip
def test_the_checkpoint_of_another_run_is_refused(change, stopped):
    before = (stopped / "net.checkpoint").read_bytes()
    with pytest.raises(BadPlan, match="another run .*remove it to start anew"):
        run(stopped, **change)
    assert (stopped / "net.checkpoint").read_bytes() == before


def test_another_number_of_threads_is_no_other_run(stopped):
    from dataclasses import replace

    seen = []

    def tell(state):
        if state.is_end:
            seen.append((state.phase, state.epoch))
            raise Killed

    with pytest.raises(Killed):
        run(stopped, tell, recipe=replace(RECIPE, threads=2))
    assert seen == [("prune", 2)]  # the first epoch is done


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"", lambda data: b"\x80\x05" + data])
def test_a_damaged_checkpoint_is_refused(damage, stopped):
    path = stopped / "net.checkpoint"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadPlan, match="damaged one; remove it"):
        run(stopped)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"stamp": "s", "state": Trap()}, tmp_path / "net.checkpoint")
    with pytest.raises(BadPlan):
        checkpoint.read(tmp_path / "net.checkpoint", "s")
    assert not (tmp_path / "sprung").exists()


class Full(io.BytesIO):
    """A file that holds so many bytes, and then raises."""

    def __init__(self, size: int, error: BaseException):
        super().__init__()
        self.size, self.error = size, error

    def write(self, data) -> int:
        if self.tell() + len(data) > self.size:
            raise self.error
        return super().write(data)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("size", [0, 700])
def test_what_cuts_a_checkpoint_short_is_not_hidden_by_torch(error, size, monkeypatch):
    monkeypatch.setattr(checkpoint, "replacing", lambda path: contextlib.nullcontext(Full(size, error)))
    with pytest.raises(type(error)) as caught:
        checkpoint.write("net.checkpoint", "s", {"weights": torch.zeros(5000)})
    assert caught.value is error


def first(weights: dict) -> dict:
    return next(iter(weights.values()))


DAMAGE = {
    "no weights": lambda state: state.pop("weights"),
    "a part more": lambda state: state.update(more=1),
    "a weight less": lambda state: state["weights"].popitem(),
    "values of another size": lambda state: first(state["weights"]).update(values=torch.zeros(3)),
    "values that are none": lambda state: first(state["weights"]).update(values=None),
    "values that are text": lambda state: first(state["weights"]).update(values="0"),
    "a mask of another size": lambda state: first(state["weights"]).update(mask=torch.ones(3, dtype=torch.bool)),
    "a mask of numbers": lambda state: first(state["weights"]).update(mask=torch.ones(8192)),
    "codes without places": lambda state: first(state["weights"]).update(codes=torch.zeros(8192, dtype=torch.int64)),
    "places without codes": lambda state: first(state["weights"]).update(places=torch.arange(8192)),
    "codes beyond the codebook": lambda state: first(state["weights"]).update(
        values=torch.zeros(2), mask=None, places=torch.arange(8192), codes=torch.full((8192,), 2)
    ),
    "places beyond the tensor": lambda state: first(state["weights"]).update(
        values=torch.zeros(2), mask=None, places=torch.arange(8192) + 1, codes=torch.zeros(8192, dtype=torch.int64)
    ),
    "free weights without values": lambda state: first(state["weights"]).update(
        free=torch.ones(8192, dtype=torch.bool)
    ),
    "another phase": lambda state: state["state"].update(phase="rest"),
    "an epoch that is no number": lambda state: state["state"].update(epoch="1"),
    "an epoch before the first": lambda state: state["state"].update(epoch=-1),
    "history of nothing": lambda state: state["state"].update(history=[{}]),
    "best weights that do not fit": lambda state: state["state"].update(best_weights={"w": None}),
    "an optimizer of other sizes": lambda state: state["optimizer"]["param_groups"][0].update(params=[0]),
    "an optimizer of nothing": lambda state: state.update(optimizer={}),
    "moments of another size": lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.ones(2)),
    "squares of another size": lambda state: state["squares"].update({next(iter(state["squares"])): torch.ones(2)}),
    "squares of another tensor": lambda state: state["squares"].update(no=torch.ones(2)),
    "no random state": lambda state: state.update(random=torch.zeros(3)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_checkpoint_whose_parts_do_not_fit_is_refused_by_name(name, stopped):
    path = stopped / "net.checkpoint"
    found = torch.load(path, weights_only=True)
    DAMAGE[name](found["state"])
    torch.save(found, path)
    with pytest.raises(BadPlan, match="net.checkpoint: .*remove it to start anew"):
        run(stopped)
    assert path.exists() and not (stopped / "net.dcz").exists()


def test_a_checkpoint_has_the_names_of_those_that_older_versions_wrote(stopped):
    saved = torch.load(stopped / "net.checkpoint", weights_only=True)["state"]
    assert " ".join(saved) == "state weights squares optimizer random"
    assert " ".join(saved["state"]) == (
        "phase epoch batches settled halted best best_weights stale stage rate halvings reference before "
        "pruned_result after history notes"
    )
    assert " ".join(first(saved["weights"])) == "values latent mask codes places free"


def test_a_checkpoint_that_cannot_be_written_is_told_before_training(tmp_path):
    with pytest.raises(FileAccess, match="does not exist"):
        retrain(
            perceptron(), tmp_path / "n.dcz", X, labels=Y, recipe=RECIPE, checkpoint=tmp_path / "no" / "c", force=True
        )


def test_a_score_without_a_name_is_the_same_in_another_process():
    def score(power, values, squares):
        return values.abs() ** power

    assert str(Recipe(score=partial(score, 2))) == str(Recipe(score=partial(score, 2))) == "score=partial"


def test_a_stream_resumes_too(tmp_path):
    batches = [(X[:100], Y[:100]), (X[100:200], Y[100:200])]
    for folder, kill in (("a", None), ("b", ("prune", 2))):
        (tmp_path / folder).mkdir()
        if kill:
            with pytest.raises(Killed):
                run(tmp_path / folder, killer(*kill), data=batches, labels=None)
        run(tmp_path / folder, data=batches, labels=None)
    assert (tmp_path / "a" / "net.dcz").read_bytes() == (tmp_path / "b" / "net.dcz").read_bytes()

"""The order of layers, and the activations that lie in a temporary file meanwhile."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from dcz.calibrate import layers, schedule
from dcz.calibrate.schedule import ActivationCache, layer_groups
from dcz.errors import FileAccess, UnsuitableModel
from dcz.model import WorkingCopy, read_program
from tests.calibrate.cases import batches, network
from tests.models import normal


def test_layers_are_met_in_order_on_what_was_decided_before():
    net = network()
    prog = read_program(net, "")
    found = layer_groups(prog, layers.find_layers(prog))
    assert [[layer.tensor for layer in group.layers] for group in found] == [["w0"], ["w1"], ["w2"]]
    assert [group.values for group in found] == [("x",), ("r0",), ("f",)]
    with ActivationCache(batches()) as cache:
        cache.advance(WorkingCopy(net), ("r0",))
        cache.advance(WorkingCopy(net, {"w1": 0 * prog.constants["w1"]}), ("f",))
        assert all(set(batch) == {"f"} and not batch["f"].any() for batch in cache)
        assert len(cache) == 4


def test_values_that_stay_are_not_written_again(monkeypatch):
    net, constants = network(), read_program(network(), "").constants
    with ActivationCache(batches()) as cache:
        cache.advance(WorkingCopy(net), ("x", "r0"))
        before = cache._file.nbytes
        cache.advance(WorkingCopy(net, {"w0": 0 * constants["w0"]}), ("x", "r0"))
        assert cache._file.nbytes == before and all(batch["r0"].any() for batch in cache)
        monkeypatch.setattr(schedule, "SPARE_BYTES", 0)
        cache.advance(WorkingCopy(net), ("f",))
        assert cache._file.nbytes == sum(batch["f"].nbytes for batch in cache) < before


def test_values_of_any_dtype_and_shape_lie_in_the_file():
    held = {"b": np.array([True]), "s": np.float32(2.5), "none": np.zeros((0, 3)), "half": normal(2, 3).T.astype("e")}
    with ActivationCache([{name: np.asarray(array) for name, array in held.items()}]) as cache:
        (found,) = cache
    for name, array in held.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    with pytest.raises(UnsuitableModel, match="computes text, 't'"):
        ActivationCache([{"t": np.array(["a"], object)}])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("samples", [4, 4000])  # some that a buffer holds, and many
def test_a_full_disk_names_the_temporary_folder_and_says_what_to_free(monkeypatch, tmp_path, samples):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "w+b"))
    given = [{"x": np.zeros((samples, 250), np.float32)}] * 10
    with pytest.raises(FileAccess, match=f"{tmp_path}: .*No space left.*; free {samples / 100:.1f} MB .*set TMPDIR"):
        ActivationCache(given)


def test_without_a_temporary_folder_it_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileAccess, match=f"{tmp_path}/gone: .*No such file or directory; set TMPDIR to a folder"):
        ActivationCache(batches(), folder=f"{tmp_path}/gone")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "gone")
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [f"{tmp_path}/gone"])
    with pytest.raises(FileAccess, match="^gone: temporary files cannot be written: No usable temporary directory"):
        ActivationCache(batches())

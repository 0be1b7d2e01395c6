"""What inspect says is what lies in the file."""

import io

import numpy as np
import onnx
import pytest

import dcz
from dcz.codec.stages import huffman
from dcz.codec.stages import packed as fixed_width
from dcz.encoded import Sparse
from dcz.errors import CorruptFile, FileAccess
from dcz.format import container, record
from dcz.format.container import Archive
from dcz.reading.shared_values import shared_values
from tests import ROOT, models
from tests.networks import perceptron


@pytest.fixture
def packed(tmp_path):
    return dcz.compress(perceptron(), tmp_path / "net.dcz", dcz.Settings(sparsity=0.9, bits=4))


def test_the_parts_add_up_to_the_file(packed):
    found = dcz.inspect(packed)
    total = found.total
    assert sum(total.parts.values()) == total.huffman == sum(row.huffman for row in found.rows)
    assert found.directory_bytes + found.graph_bytes + total.huffman == found.file_bytes == packed.stat().st_size
    assert found.ratio == found.source_bytes / found.file_bytes


def test_stages_before_huffman_are_the_bytes_of_fixed_width_streams(packed):
    """Sizes after pruning and sharing are reckoned; here they are laid out."""
    rows = {row.name: row for row in dcz.inspect(packed).rows}
    with Archive(packed) as archive:
        for entry in archive.directory.entries:
            encoded, row = archive.encoded(entry), rows[entry.name]
            if not isinstance(encoded, Sparse):
                continue
            index = encoded.index
            gaps = fixed_width.encode(huffman.decode(index.gaps), index.gap_bits).segments[0]
            codes = fixed_width.encode(huffman.decode(encoded.codes), 4).segments[0]
            codebook = dict(record.parts(encoded))["codebook"]
            assert row.share == len(gaps) + len(codes) + len(codebook)
            assert row.prune == len(gaps) + 4 * index.kept


def test_kept_is_counted_where_it_can_be_told(tmp_path):
    sparse = dcz.inspect(dcz.compress(perceptron(), tmp_path / "a.dcz", dcz.Settings(sparsity=0.9, bits=4)))
    assert {row.name: row.kept for row in sparse.rows}["fc1.weight"] == 819
    shared = dcz.inspect(dcz.compress(perceptron(), tmp_path / "b.dcz", dcz.Settings(sparsity=0.3, bits=4)))
    row = {row.name: row for row in shared.rows}["fc1.weight"]
    assert row.encoding == "shared" and row.kept is None  # zero is one of its values
    assert shared.total.kept is None
    exact = dcz.inspect(dcz.compress(perceptron(), tmp_path / "c.dcz", dcz.Settings(bits=4)))
    assert exact.total.kept == exact.total.elements


def test_an_onnx_model_is_listed_with_roles_and_zeros(tmp_path):
    proto = perceptron()
    weights = np.frombuffer(proto.graph.initializer[0].raw_data, np.float32).copy()
    weights[:100] = 0
    proto.graph.initializer[0].raw_data = weights.tobytes()
    onnx.save(proto, tmp_path / "net.onnx")
    rows = {row.name: row for row in dcz.inspect(tmp_path / "net.onnx").rows}
    assert rows["fc1.weight"].encoding == "weight" and rows["fc1.weight"].kept == weights.size - 100
    assert rows["fc1.bias"].encoding == "exact"


def test_histogram_shares_follow_the_real_ones(packed):
    with dcz.open(packed) as tensors:
        values = tensors["fc1.weight"]
    real = {
        float(value): (values == value).sum() / np.count_nonzero(values) for value in np.unique(values[values != 0])
    }
    (pairs,) = shared_values(packed, "fc1.weight").values()
    assert {value for value, _ in pairs} == real.keys() and sum(share for _, share in pairs) == pytest.approx(1)
    assert all(share < 2.1 * real[value] + 0.02 for value, share in pairs)


def test_a_verdict_is_true_where_the_budgets_hold(packed):
    assert dcz.check(packed, max_size="1MB") and not dcz.check(packed, max_size=10)


def test_a_plan_may_be_a_path(tmp_path):
    (tmp_path / "plan.toml").write_text("[default]\nbits = 2\n")
    packed = dcz.compress(perceptron(), tmp_path / "net.dcz", tmp_path / "plan.toml")
    assert {row.entries for row in dcz.inspect(packed).rows} == {4, None}


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(FileAccess):
        dcz.inspect("a\0b.onnx")


VECTORS = sorted((ROOT / "spec" / "vectors").glob("*/*.dcz"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of entries that are no numbers
@pytest.mark.parametrize("path", VECTORS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_heads_tell_the_same_as_whole_records(path, monkeypatch):
    """But for faults of what they do not hold."""

    def found():
        try:
            return dcz.inspect(path).to_dict()
        except CorruptFile as error:
            return error.reason

    whole = found()
    monkeypatch.setattr(container, "WHOLE_RECORD", -1)
    assert found() == whole or whole == "record-crc"


def test_of_long_records_the_head_alone_is_read(tmp_path):
    class Counting(io.BytesIO):
        nbytes = 0

        def read(self, size=-1):
            data = super().read(size)
            self.nbytes += len(data)
            return data

    weights = np.random.default_rng(0).normal(0, 1, (1000, 1000)).astype(np.float32)
    packed = dcz.compress(models.dense(weights), tmp_path / "net.dcz", bits=8)
    file = Counting(packed.read_bytes())
    assert dcz.inspect(file).to_dict() | {"path": ""} == dcz.inspect(packed).to_dict() | {"path": ""}
    assert file.nbytes < 10_000 < 500_000 < packed.stat().st_size


@pytest.mark.filterwarnings("error")
def test_codebooks_of_no_numbers_are_looked_at_without_a_word():
    for path in sorted((ROOT / "spec" / "vectors" / "invalid").glob("codebook-value-*.dcz")):
        assert dcz.inspect(path).rows

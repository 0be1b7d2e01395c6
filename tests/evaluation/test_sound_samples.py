"""Windows of .wav files as samples."""

import wave
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dcz.errors import FileAccess, InvalidArgument
from dcz.evaluation.sound_samples import holds_sounds, sound_samples


def write(path: Path, sound: np.ndarray, rate=8000, width=2) -> Path:
    """A .wav file of numbers from -1 to 1 ([n], or [n, channels])."""
    path.parent.mkdir(exist_ok=True)
    whole = np.rint(sound * ((1 << (8 * width - 1)) - 1)).astype(np.int64)
    if width == 1:
        data = (whole + 128).astype(np.uint8).tobytes()
    else:
        data = whole.astype("<i8").reshape(-1, 1).view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setparams((1 if sound.ndim == 1 else sound.shape[1], width, rate, 0, "NONE", ""))
        file.writeframes(data)
    return path


def model(path: Path, shape=("n", 100), kind=TensorProto.FLOAT) -> Path:
    infos = [helper.make_tensor_value_info(name, kind, list(shape)) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "net", infos[:1], infos[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), path)
    return path


TONE = np.sin(np.arange(250) / 8)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_windows_are_the_sounds_numbers(width, tmp_path):
    write(tmp_path / "sounds" / "a.wav", TONE, width=width)
    made = sound_samples(tmp_path / "sounds", model(tmp_path / "net.onnx"))
    array = made.samples.arrays["x"]
    assert array.shape == (2, 100) and array.dtype == np.float32 and made.rate == 8000
    np.testing.assert_allclose(array.ravel(), TONE[:200], atol=2 / (1 << (8 * width - 1)) + 1e-6)
    assert made.peak == pytest.approx(1, abs=0.02) and made.silent == 0 and made.doubts == ()


@pytest.mark.parametrize("shape, expected", [(("n", 100, 1), (2, 100, 1)), (("n", "t", 1), (2, 100, 1)),
                                             (("n", 1, "t"), (2, 1, 100)), ((1, 1, 1), None)])  # fmt: skip
def test_the_channel_may_come_before_or_after_the_window(shape, expected, tmp_path):
    write(tmp_path / "s" / "a.wav", TONE)
    net = model(tmp_path / "net.onnx", shape)
    if expected is None:
        with pytest.raises(InvalidArgument, match="takes windows of 1 numbers"):
            sound_samples(tmp_path / "s", net, seconds=100 / 8000)
        return
    array = sound_samples(tmp_path / "s", net, seconds=100 / 8000).samples.arrays["x"]
    assert array.shape == expected
    np.testing.assert_allclose(array.ravel(), TONE[:200], atol=1e-4)


def test_channels_are_averaged_short_files_filled_up_and_silence_doubted(tmp_path):
    write(tmp_path / "s" / "a.wav", np.stack([TONE[:60], np.zeros(60)], 1))
    write(tmp_path / "s" / "b.WAV", np.zeros(300))
    made = sound_samples(tmp_path / "s", model(tmp_path / "net.onnx", ("n", 1, 100)))
    array = made.samples.arrays["x"]
    assert array.shape == (4, 1, 100) and [file.name for file in made.files] == ["a.wav", *["b.WAV"] * 3]
    np.testing.assert_allclose(array[0, 0, :60], TONE[:60] / 2, atol=1e-4)
    assert not array[0, 0, 60:].any() and made.silent == 0.75 and "75% of the windows are silence" in made.doubts[0]


def test_other_rates_are_resampled(tmp_path):
    slow = np.sin(2 * np.pi * 20 * np.arange(1600) / 1600)  # 20 Hz for a second
    write(tmp_path / "s" / "a.wav", slow, 1600)
    write(tmp_path / "s" / "b.wav", np.sin(2 * np.pi * 20 * np.arange(400) / 400), 400)
    net = model(tmp_path / "net.onnx", ("n", "t"))
    with pytest.raises(InvalidArgument, match="files of 400, 1600 numbers a second: give --rate"):
        sound_samples(tmp_path / "s", net, seconds=0.5)
    made = sound_samples(tmp_path / "s", net, rate=800, seconds=0.5)
    expected = np.sin(2 * np.pi * 20 * np.arange(800) / 800).reshape(2, 400)
    for part in (made.samples.arrays["x"][:2], made.samples.arrays["x"][2:]):
        assert np.abs(part[:, 4:-4] - expected[:, 4:-4]).max() < 0.1 and part.shape == (2, 400)
    assert sound_samples(tmp_path / "s", net, rate=800, seconds=0.1, limit=5).samples.arrays["x"].shape == (5, 80)


@pytest.mark.parametrize(
    "shape, kind, options, words",
    [
        (("n", "t"), TensorProto.FLOAT, {}, "takes sounds of any length: give --seconds"),
        (("n", 100), TensorProto.FLOAT, {"seconds": 1}, "takes windows of 100 numbers, and 1 s of 8000 are 8000"),
        (("n", 3, 100), TensorProto.FLOAT, {}, "and not just waves"),
        (("n", 100), TensorProto.INT64, {}, "and not just waves"),
    ],
)
def test_models_that_take_something_else_are_refused(shape, kind, options, words, tmp_path):
    write(tmp_path / "s" / "a.wav", TONE)
    with pytest.raises(InvalidArgument, match=words):
        sound_samples(tmp_path / "s", model(tmp_path / "net.onnx", shape, kind), **options)


def test_files_that_are_no_sound_are_refused(tmp_path):
    net = model(tmp_path / "net.onnx")
    (tmp_path / "s").mkdir()
    with pytest.raises(InvalidArgument, match="no .wav files there"):
        sound_samples(tmp_path / "s", net)
    (tmp_path / "s" / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVEjunk")
    with pytest.raises(InvalidArgument, match="a.wav: no .wav file of plain PCM"):
        sound_samples(tmp_path / "s", net)
    with pytest.raises(FileAccess, match="missing.wav"):
        sound_samples(tmp_path / "missing.wav", net)
    write(tmp_path / "s" / "a.wav", TONE[:0])
    with pytest.raises(InvalidArgument, match="a.wav: holds no sound"):
        sound_samples(tmp_path / "s", net)
    assert holds_sounds(tmp_path / "s") and holds_sounds("x.WAV") and holds_sounds(tmp_path)

"""Images as samples for a model, and doubts about how they were prepared."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dcz.errors import InvalidArgument
from dcz.evaluation import judging
from dcz.evaluation.image_samples import image_samples
from dcz.evaluation.preprocessing import PRESETS, Preprocessing, parse_numbers, parse_side, parse_size
from dcz.evaluation.samples import open_samples, write_samples
from tests import models

Image = pytest.importorskip("PIL.Image", reason="the extra `images` brings Pillow")
COLOURS = {"red": (250, 5, 10), "green": (5, 250, 10), "blue": (10, 5, 250), "grey": (128, 128, 128)}


@pytest.fixture
def images(tmp_path) -> Path:
    """images/red/0.png ...: eight of each of four colours, some wide, some high."""
    for name, colour in COLOURS.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            shape = (40, 20) if number % 2 else (20, 40)
            noise = np.random.default_rng(number).integers(-5, 6, (*shape, 3))
            Image.fromarray(np.uint8(np.clip(noise + colour, 0, 255))).save(
                tmp_path / "images" / name / f"{number}.png"
            )
    return tmp_path / "images"


def classifier(path, layout="nchw", size=(16, 16), kind=TensorProto.FLOAT) -> Path:
    """Tells colours of images between 0 and 1, to which it cuts what it gets: 0 red, 1 green, 2 blue, 3 grey."""
    shape = ["n", 3, *size] if layout == "nchw" else ["n", *size, 3]
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)]
    axes = [2, 3] if layout == "nchw" else [1, 2]
    nodes += [
        helper.make_node("Clip", ["f", "zero", "one"], ["g"]),
        helper.make_node("ReduceMean", ["g"], ["m"], axes=axes, keepdims=0),
        helper.make_node("Sub", ["m", "half"], ["c"]),
        helper.make_node("Gemm", ["c", "w", "b"], ["l"]),
        helper.make_node("Softmax", ["l"], ["p"]),
    ]
    numbers = {"w": 40 * np.eye(3, 4), "b": np.array([0, 0, 0, 8]), "half": np.full(3, 0.5), "zero": 0, "one": 1}
    tensors = [models.tensor(name, np.asarray(array, np.float32)) for name, array in numbers.items()]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 4])], tensors,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, expected",  # of red, green and blue of 255, 0 and 51
    [
        ("0..1", [1, 0, 0.2]),
        ("-1..1", [1, -1, -0.6]),
        ("0..255", [255, 0, 51]),
        ("imagenet", [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]),
        ("caffe", [51 - 104, 0 - 117, 255 - 123]),
        ("clip", [(1 - 0.48145466) / 0.26862954, -0.4578275 / 0.26130258, (0.2 - 0.40821073) / 0.27577711]),
        ("yolo", [1, 0, 0.2]),
    ],
)
def test_presets_are_what_their_sources_say(name, expected):
    pixels = np.array([[[255, 0, 51]]], np.uint8)
    made = PRESETS[name].numbers(pixels, np.dtype(np.float32), "nchw")
    assert made.shape == (3, 1, 1) and made.dtype == np.float32
    np.testing.assert_allclose(made.ravel(), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(PRESETS[name].numbers(pixels, np.dtype(np.float32), "nhwc").ravel(), made.ravel())


def test_whole_numbers_are_rounded_and_cut():
    pixels = np.array([[[255, 0, 51]]], np.uint8)
    assert Preprocessing("0..255", std=(2.0,)).numbers(pixels, np.dtype(np.uint8), "nhwc").tolist() == [[[128, 0, 26]]]
    assert Preprocessing("-1..1", std=(0.001,)).numbers(pixels, np.dtype(np.int8), "nhwc").tolist() == [
        [[127, -128, -128]]
    ]


@pytest.mark.parametrize(
    "way, size, expected",
    [
        (Preprocessing(), (16, 16), ((16, 16), (16, 16))),
        (PRESETS["imagenet"], (224, 224), (256, (224, 224))),
        (Preprocessing(resize=256), (224, 224), (256, (224, 224))),
        (Preprocessing(resize=256), (None, None), (256, (256, 256))),
        (Preprocessing(crop=(32, 48)), (None, None), ((32, 48), (32, 48))),
        (Preprocessing(resize=(40, 60), crop=(32, 48)), (32, None), ((40, 60), (32, 48))),
        (Preprocessing(), (None, None), "takes images of any size: say which"),
        (Preprocessing(crop=(32, 32)), (16, 16), "takes images of 16x16, not 32x32"),
        (Preprocessing(resize=10), (16, 16), "a short side of 10 hold no 16x16"),
    ],
)
def test_sizes_are_those_of_the_model_or_of_the_options(way, size, expected):
    if isinstance(expected, str):
        with pytest.raises(InvalidArgument, match=expected):
            way.target(size)
    else:
        assert way.target(size) == expected


def test_texts_of_options_are_read():
    assert parse_side("256") == 256 and parse_side("480x640") == (480, 640) and parse_size("224") == (224, 224)
    assert parse_numbers("0.5") == (0.5,) and parse_numbers("104/117/123") == parse_numbers("104, 117, 123")
    for read, text in ((parse_side, "0"), (parse_side, "-3"), (parse_side, "1x2x3"), (parse_numbers, "a,b")):
        with pytest.raises(InvalidArgument, match=text):
            read(text)


@pytest.mark.parametrize(
    "parts, words",
    [
        ({"range": "0..2"}, "one of 0..1, -1..1, 0..255"),
        ({"mean": (1.0, 2.0)}, "mean is one number, or three"),
        ({"std": (0.0,)}, "std has a zero"),
        ({"fit": "squeeze"}, "cover, letterbox, stretch"),
    ],
)
def test_parts_that_cannot_be_are_refused(parts, words):
    with pytest.raises(InvalidArgument, match=words):
        Preprocessing(**parts)


# -- images ------------------------------------------------------------------------------------------------------------


def halves(path: Path, width: int, height: int) -> Path:
    """An image whose left half is black, and whose right one is white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    "way, expected",
    [
        (Preprocessing(), ["0000000011111111"]),  # covers: the middle 16 of 32 columns
        (Preprocessing(fit="stretch"), ["0000000011111111"]),
        (Preprocessing(fit="letterbox"), ["gggggggggggggggg", "0000000011111111"]),
        (Preprocessing(crop=(16, 16), resize=32), ["0000000011111111"]),
    ],
)
def test_images_of_another_shape_are_fitted(way, expected, tmp_path):
    path = halves(tmp_path / "a.png", 64, 32)
    (array,) = image_samples(path, classifier(tmp_path / "net.onnx"), way).samples.arrays["x"]
    rows = {"".join("g" if abs(v - 114 / 255) < 0.01 else str(round(float(v))) for v in row) for row in array[0]}
    assert set(expected) <= rows and array.shape == (3, 16, 16)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_folder_becomes_samples_with_classes_by_subfolder(layout, images, tmp_path):
    made = image_samples(images, classifier(tmp_path / "net.onnx", layout), PRESETS["0..1"])
    array, classes = made.samples.arrays["x"], made.samples.arrays["class"]
    assert array.shape == ((32, 3, 16, 16) if layout == "nchw" else (32, 16, 16, 3)) and made.input.layout == layout
    assert classes.tolist() == [number for number in range(4) for _ in range(8)]  # blue, green, grey, red
    channels = array.mean((2, 3) if layout == "nchw" else (1, 2))
    assert channels.argmax(1)[classes != 2].tolist() == [2] * 8 + [1] * 8 + [0] * 8
    least, mean, most = np.array(made.channels).T
    np.testing.assert_allclose(mean, array.mean((0, 2, 3) if layout == "nchw" else (0, 1, 2)), rtol=1e-3)
    assert (least >= 0).all() and (most <= 1).all()


def test_a_limit_takes_images_evenly(images, tmp_path):
    made = image_samples(images, classifier(tmp_path / "net.onnx"), PRESETS["0..1"], limit=4)
    assert [file.parent.name for file in made.files] == ["blue", "green", "grey", "red"]
    assert made.samples.arrays["class"].tolist() == [0, 1, 2, 3] and made.doubts == ()  # too few to judge by


def test_an_input_of_whole_numbers_takes_pixels_as_they_are(images, tmp_path):
    made = image_samples(images, classifier(tmp_path / "net.onnx", "nhwc", kind=TensorProto.UINT8))
    assert made.samples.arrays["x"].dtype == np.uint8 and made.samples.arrays["x"].max() > 200


def test_a_compressed_model_serves_as_well(images, tmp_path):
    import dcz

    packed = dcz.compress(classifier(tmp_path / "net.onnx"), tmp_path / "net.dcz")
    assert image_samples(images, packed, PRESETS["0..1"]).samples.arrays["x"].shape == (32, 3, 16, 16)


@pytest.mark.parametrize(
    "shape, layout, words",
    [
        (["n", "c", "h", "w"], None, "is not known: give --layout nchw or nhwc"),
        (["n", 3, 16, 3], None, "is not known: give --layout"),
        (["n", 4, 16, 16], "nchw", "has 4 channels as nchw, and images have 1 or 3; give another --layout"),
        (["n", 3], None, "and not just images"),
    ],
)
def test_models_that_take_no_images_are_refused(shape, layout, words, images, tmp_path):
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", infos[:1], infos[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "n.onnx")
    with pytest.raises(InvalidArgument, match=words):
        image_samples(images, tmp_path / "n.onnx", PRESETS["0..1"], layout=layout)


def test_of_a_model_that_takes_tokens_the_way_to_samples_is_told(images, tmp_path):
    infos = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"]) for name in ("ids", "y")]
    graph = helper.make_graph([helper.make_node("Abs", ["ids"], ["y"])], "net", infos[:1], infos[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "n.onnx")
    with pytest.raises(InvalidArgument, match=r"takes 'ids' .*; if that is text, give a text and --tokenizer; or save"):
        image_samples(images, tmp_path / "n.onnx", PRESETS["0..1"])


def test_what_is_written_is_read_and_is_the_same_each_time(tmp_path):
    from dcz.evaluation.samples import Samples

    arrays = {"x": models.normal(3, 4), "file": np.arange(3)}  # "file" is a word of numpy's own function
    for name in ("a.npz", "b.npz"):
        write_samples(tmp_path / name, Samples("", arrays))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = open_samples(tmp_path / "a.npz").arrays
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


# -- doubts ------------------------------------------------------------------------------------------------------------


def test_the_right_preprocessing_raises_no_doubt(images, tmp_path):
    made = image_samples(images, classifier(tmp_path / "net.onnx"), PRESETS["0..1"])
    assert made.doubts == ()
    assert made.answers[""].information == pytest.approx(np.log(4), abs=0.1)  # four classes, told apart for sure
    assert made.answers[""].confidence > 0.9 and made.answers[""].one_class == 0.25


def test_a_wrong_one_raises_a_doubt_that_names_a_better_one(images, tmp_path):
    """Pixels of 0 to 255 are all white for this network."""
    right = image_samples(images, classifier(tmp_path / "net.onnx"), PRESETS["0..1"]).answers[""]
    made = image_samples(images, classifier(tmp_path / "net.onnx"), PRESETS["0..255"])
    assert made.answers["--preset 0..1"] == right and made.answers[""].information < 0.1
    assert any("with --preset" in doubt and "nats instead of 0.0" in doubt for doubt in made.doubts)


def test_one_class_for_all_raises_a_doubt(images, tmp_path):
    for folder in ("green", "blue", "grey"):
        for file in (images / folder).iterdir():
            file.unlink()
        (images / folder).rmdir()
    for number in range(8, 14):
        Image.fromarray(np.full((20, 20, 3), (240, number, 0), np.uint8)).save(images / "red" / f"{number}.png")
    (doubt, *_) = image_samples(images, classifier(tmp_path / "net.onnx"), PRESETS["0..1"]).doubts
    assert "gives class 0 to 100% of 14 images" in doubt


def test_answers_of_no_classes_are_not_judged(images, tmp_path):
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 16, 16]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", infos[:1], infos[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "n.onnx")
    made = image_samples(images, tmp_path / "n.onnx", PRESETS["0..1"])
    assert made.answers == {} and made.doubts == ()


@pytest.mark.parametrize(
    "own, other, doubts",
    [
        (judging.Answers(3.5, 0.8, 0.05, 1), judging.Answers(0.3, 0.3, 0.9, 1), 0),
        (judging.Answers(3.0, 0.8, 0.05, 1), judging.Answers(3.3, 0.85, 0.05, 1), 0),  # hardly more
        (judging.Answers(3.3, 0.6, 0.05, 1), judging.Answers(3.45, 0.77, 0.05, 1), 1),  # as much, and surer
        (judging.Answers(0.3, 0.3, 0.5, 1), judging.Answers(3.5, 0.8, 0.05, 1), 1),
        (judging.Answers(0.1, 0.3, 0.95, 1), judging.Answers(3.5, 0.8, 0.05, 1), 2),
    ],
)
def test_doubts_follow_from_the_answers(own, other, doubts):
    assert len(list(judging.doubts({"": own, "--preset caffe": other}, 32, "net.onnx"))) == doubts
    assert not list(judging.doubts({"": own, "--preset caffe": other}, 5, "net.onnx"))

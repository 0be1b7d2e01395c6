"""`dcz report`: a page that stands alone, shows names as they are, and has true figures."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from dcz.display.elements import EMPTY, Html, tag
from dcz.evaluation.changed import changed_samples
from dcz.format.container import Archive
from dcz.reading.distributions import distribution, entropy, histogram
from dcz.reporting import page, thumbnails
from tests import models
from tests.networks import perceptron

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a&amp;b/[bold]\x1b[31m",
    "日本語/重み",
    "' onload='x",
)


class Page(HTMLParser):
    """What is on a page: elements with their attributes, text, and whether each element is closed where it should."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in EMPTY:
            self.open.append(name)
        if name == "tr":
            self.rows.append([])
        if name in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, name, attributes):
        assert name in EMPTY
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)
            if self.rows and {"td", "th"} & set(self.open):
                self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def net(tmp_path, monkeypatch) -> Path:
    """net.onnx, net.dcz (sparse, shared, stored) and x.npz in the current folder."""
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    dcz.compress("net.onnx", "net.dcz", dcz.Settings(sparsity=0.5, bits=3))
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))
    return tmp_path


def made(*arguments, **options) -> Page:
    return Page(Path(dcz.report(*arguments, **options)).read_text("utf-8"))


def test_the_page_stands_alone(net):
    text = dcz.report("net.dcz", "r.html", against="net.onnx", data="x.npz").read_text("utf-8")
    found = Page(text)
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text)
    assert not [name for name, attributes in found.elements if {"src", "srcset"} & attributes.keys() and
                not str(attributes.get("src")).startswith("data:")]  # fmt: skip
    assert not [name for name, _ in found.elements if name in ("link", "iframe", "object", "base")]
    (policy,) = [a["content"] for n, a in found.elements if n == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'; ") and "unsafe-eval" not in policy and "script-src 'sha256-" in policy
    assert page.frame_bytes() < 20_000 and len(text) < 100_000  # of so small a model, with all its data


@pytest.mark.parametrize("form", ["array", "dict", "batches"])
def test_samples_may_be_arrays(net, form):
    x = np.load("x.npz")["x"]
    data = {"array": x, "dict": {"x": x}, "batches": ({"x": x[i : i + 16]} for i in range(0, 64, 16))}[form]
    text = dcz.report("net.dcz", "r.html", against="net.onnx", data=data).read_text("utf-8")
    from_file = dcz.report("net.dcz", "file.html", against="net.onnx", data="x.npz").read_text("utf-8")
    assert "On the samples of x.npz, against net.onnx." in from_file
    assert text.replace("samples that were given", "samples of x.npz") == from_file


def test_every_tensor_is_in_the_table_with_its_figures(net):
    report = dcz.inspect("net.dcz")
    found = made("net.dcz", "r.html", against="net.onnx")
    rows = {row[0]: row for row in found.rows if len(row) == 11}
    decibels = {row.name: row.decibels for row in dcz.verify("net.dcz", against="net.onnx").tensors}
    for row in report.rows:
        cells = rows[row.name]
        assert cells[1:4] == [row.dtype, "×".join(map(str, row.shape)), row.encoding]
        assert cells[4] == f"{row.elements:,}" and cells[8] == f"{row.huffman:,}" and cells[7] == f"{row.original:,}"
        assert cells[10] == ("equal" if decibels[row.name] == float("inf") else f"{decibels[row.name]:.1f}")
    assert rows["all tensors"][8] == f"{report.total.huffman:,}"
    assert f"{report.ratio:.2f}" in found.text and "Error by layer" in found.text


def test_it_can_be_read_without_javascript_and_by_a_screen_reader(net):
    found = made("net.dcz", "r.html", against="net.onnx", data="x.npz")
    names = [name for name, _ in found.elements]
    assert names.count("h1") == 1 and "main" in names and ("html", {"lang": "en"}) in found.elements
    pictures = [attributes for name, attributes in found.elements if name == "svg"]
    assert len(pictures) > 5 and all(each["role"] == "img" and each["aria-label"] for each in pictures)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for name, attributes in found.elements if name == "a"]
    assert links and all(link.startswith("#") and link[1:] in ids for link in links)
    radios = [attributes for name, attributes in found.elements if attributes.get("type") == "radio"]
    assert [each["id"] for each in radios] == ["map-file", "map-memory", "map-float32"] and "checked" in radios[0]
    hidden = [attributes for _, attributes in found.elements if "hidden" in attributes]
    assert [each.get("class") for each in hidden] == ["find"]  # what does nothing without a script, and no more
    assert names.count("details") == len(dcz.inspect("net.dcz").rows)


def test_hostile_names_are_shown_and_not_obeyed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    nodes, tensors, x = [], [], "x"
    for number, name in enumerate(HOSTILE):
        tensors.append(models.tensor(name, random.normal(size=(24, 24)).astype(np.float32)))
        nodes.append(onnx.helper.make_node("MatMul", [x, name], [f"{name}{number}"]))
        x = f"{name}{number}"
    onnx.save(models.model(nodes, {"x": ["n", 24]}, {x: ["n", 24]}, tensors), "net.onnx")
    dcz.compress("net.onnx", "net.dcz")
    np.savez("x.npz", x=random.normal(size=(16, 24)).astype(np.float32))
    text = dcz.report("net.dcz", "r.html", against="net.onnx", data="x.npz").read_text("utf-8")
    found = Page(text)
    shown = {row[0] for row in found.rows}
    assert {name.replace("\x1b", r"\x1b") for name in HOSTILE} <= shown and "\x1b" not in text
    assert [name for name, _ in found.elements].count("script") == 1
    assert not [a for _, a in found.elements if any(key.startswith("on") for key in a)]


def test_a_model_before_it_is_compressed(net):
    found = made("net.onnx", "r.html")
    assert "fc1.weight" in found.text and "weight" in found.text and "What the bytes serve" not in found.text
    with pytest.raises(dcz.InvalidArgument, match=r"only a \.dcz file is compared"):
        dcz.report("net.onnx", "r.html", against="net.onnx", force=True)


def test_a_file_without_records(tmp_path):
    onnx.save(models.bag(models.tensor("w", np.zeros(3, np.float32))), tmp_path / "net.onnx")
    dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz")
    assert "Where the bytes are" in made(tmp_path / "net.dcz", tmp_path / "r.html").text


def test_what_cannot_be_is_refused_and_old_pages_stay(net):
    Path("r.html").write_text("old")
    for options, error, words in [
        ({"data": "x.npz", "force": True}, dcz.InvalidArgument, "give that too"),
        ({}, dcz.FileAccess, "--force"),
        ({"against": "missing.onnx", "force": True}, dcz.FileAccess, "missing.onnx"),
    ]:
        with pytest.raises(error, match=words):
            dcz.report("net.dcz", "r.html", **options)
        assert Path("r.html").read_text() == "old"
    with pytest.raises(dcz.FileAccess):
        dcz.report("net.dcz", "net.dcz", force=True)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_codes_and_gaps_are_counted_as_they_are(net):
    with Archive("net.dcz") as archive, dcz.open("net.dcz") as arrays:
        for entry in archive.directory.entries:
            found, array = distribution(archive, entry), arrays[entry.name]
            if not found.code_counts:
                continue
            kept = array.ravel() if not found.gap_counts else array[array != 0]
            numbers, counts = np.unique(kept, return_counts=True)
            shared = dict(zip(found.entries, found.code_counts, strict=True))
            assert {n: c for n, c in shared.items() if c} == dict(zip(numbers.tolist(), counts.tolist(), strict=True))
            assert sum(found.gap_counts[:-1]) == (np.count_nonzero(array) if found.gap_counts else 0)
            assert sum(found.decoded.counts) == array.size


@pytest.mark.parametrize("counts, bits", [((1, 1, 1, 1), 2.0), ((5, 0, 0), 0.0), ((3, 1), 0.8112781), ((), None)])
def test_entropies(counts, bits):
    assert entropy(counts) == (None if bits is None else pytest.approx(bits))


def test_histograms_of_odd_numbers():
    found = histogram(np.array([np.nan, np.inf, 1.0, 2.0, 2.0]))
    assert (found.low, found.high, found.outside, sum(found.counts), found.counts[-1]) == (1.0, 2.0, 2, 3, 2)
    assert sum(histogram(np.full(9, 0.0)).counts) == 9 and histogram(np.array([np.nan])).outside == 1
    many = np.random.default_rng(0).normal(size=3_000_000).astype(np.float32)
    assert histogram(many).counts == tuple(np.histogram(many.astype(float), 64)[0].tolist())


def test_changed_samples_are_those_with_another_answer(net):
    dcz.compress("net.onnx", "coarse.dcz", dcz.Settings(bits=1))
    x = np.load("x.npz")["x"]
    before = models.run(perceptron(), x=x)[0]
    after = models.run(dcz.load("coarse.dcz"), x=x)[0]
    differs = np.flatnonzero(before.argmax(1) != after.argmax(1))
    found = changed_samples("coarse.dcz", "net.onnx", "x.npz")
    assert 0 < len(differs) == found.count and [change.sample for change in found.changed] == differs.tolist()
    first = found.changed[0]
    assert first.before.startswith(f"class {before[differs[0]].argmax()}, ")
    assert first.after.startswith(f"class {after[differs[0]].argmax()}, ")
    shown = made("coarse.dcz", "r.html", against="net.onnx", data="x.npz").text
    assert f"{len(differs)} of 64 samples have another answer" in shown and f"sample {differs[0]}" in shown


def test_answers_that_are_numbers_are_listed_by_how_far_they_are_off(tmp_path):
    weight = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["h"]), onnx.helper.make_node("Sigmoid", ["h"], ["y"])]
    onnx.save(models.model(nodes, {"x": ["n", 32]}, {"y": ["n", 8]}, [models.tensor("w", weight)]), tmp_path / "n.onnx")
    dcz.compress(tmp_path / "n.onnx", tmp_path / "n.dcz", dcz.Settings(bits=2))
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).normal(size=(40, 32)).astype(np.float32))
    found = changed_samples(tmp_path / "n.dcz", tmp_path / "n.onnx", tmp_path / "x.npz")
    amounts = [change.amount for change in found.changed]
    assert found.count == 40 and amounts == sorted(amounts, reverse=True) and amounts[0] > 0


def test_thumbnails_are_pngs_of_the_image():
    image = pytest.importorskip("PIL.Image")
    import base64
    import io

    array = np.zeros((150, 100, 3))
    array[:, 50:, 0] = 7.0
    array[0, 0] = np.nan
    url = thumbnails.data_url(array)
    picture = image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
    assert picture.size[1] <= thumbnails.SIDE and picture.getpixel((picture.width - 1, 9)) == (255, 0, 0)
    assert image.open(io.BytesIO(base64.b64decode(thumbnails.data_url(array[:, :, :1]).split(",")[1]))).mode == "L"


def test_samples_that_are_images_are_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    weight = random.normal(size=(3 * 16 * 16, 10)).astype(np.float32)
    nodes = [onnx.helper.make_node("Flatten", ["x"], ["f"]), onnx.helper.make_node("MatMul", ["f", "w"], ["h"]),
             onnx.helper.make_node("Softmax", ["h"], ["y"])]  # fmt: skip
    onnx.save(models.model(nodes, {"x": ["n", 3, 16, 16]}, {"y": ["n", 10]}, [models.tensor("w", weight)]), "n.onnx")
    dcz.compress("n.onnx", "n.dcz", dcz.Settings(bits=1))
    np.savez("x.npz", x=random.normal(size=(40, 3, 16, 16)).astype(np.float32))
    found = made("n.dcz", "r.html", against="n.onnx", data="x.npz")
    pictures = [attributes for name, attributes in found.elements if name == "img"]
    assert pictures and all(each["src"].startswith("data:image/png;base64,") and each["alt"] for each in pictures)


@pytest.mark.parametrize("element, text", [
    (tag("td", "<b>&", title='"\''), "<td title=\"&quot;&#x27;\">&lt;b&gt;&amp;</td>"),
    (tag("p", [tag("b", "x"), None, ["y", 3]]), "<p><b>x</b>y3</p>"),
    (tag("rect", class_="a", aria_label="b", width=3, hidden=False, checked=True),
     '<rect class="a" aria-label="b" width="3" checked/>'),
    (tag("i", "a\x00b\x1b"), r"<i>a\x00b\x1b</i>"),
])  # fmt: skip
def test_elements_escape_what_is_in_them(element, text):
    assert element == text and isinstance(element, Html)
    assert html.unescape("&lt;b&gt;&amp;") == "<b>&"


# -- the command, and a browser ----------------------------------------------------------------------------------------


def test_the_command_writes_the_page(net, monkeypatch, capsys):
    import sys

    from dcz import cli

    monkeypatch.setattr(sys, "argv", ["dcz", "report", "net.dcz", "--against", "net.onnx", "--json"])
    assert cli._run() == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"output": "net.html", "bytes": Path("net.html").stat().st_size}
    monkeypatch.setattr(sys, "argv", ["dcz", "report", "net.dcz"])
    assert cli._run() == 6 and "--force" in capsys.readouterr().err


PROBE = """
const heads = [...document.querySelectorAll('#tensors th')];
const cells = (n) => [...document.querySelectorAll('#tensors tbody tr')]
  .filter((row) => !row.hidden).map((row) => row.cells[n].textContent);
const said = {buttons: heads.filter((head) => head.querySelector('button')).length, first: cells(0)};
heads[0].querySelector('button').click(); said.down = cells(0);
heads[0].querySelector('button').click(); said.up = cells(0);
heads[8].querySelector('button').click(); said.bytes = cells(8); said.sorted = heads[8].getAttribute('aria-sort');
const box = document.querySelector('.find input'); box.value = 'fc1 shared'; box.dispatchEvent(new Event('input'));
said.found = cells(0); said.count = document.querySelector('.find output').textContent;
document.querySelector('#map-memory').click();
said.maps = [...document.querySelectorAll('.map')].map((map) => getComputedStyle(map).display);
document.querySelector('.map-memory [data-row]').dispatchEvent(new MouseEvent('click', {bubbles: true}));
said.hit = document.querySelectorAll('.hit').length;
said.wide = document.documentElement.scrollWidth <= innerWidth;
document.body.replaceChildren(JSON.stringify(said));
"""


def browse(path: Path, *options: str) -> tuple[str, str]:
    """The page as Chromium has it in the end, and what it logged."""
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--dump-dom",
        *options,
    ]
    done = subprocess.run([*command, path.resolve().as_uri()], capture_output=True, text=True, timeout=120)
    return done.stdout, done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser_tables_sort_and_search_and_maps_switch(net):
    dcz.compress("net.onnx", "net.dcz", force=True)
    text = dcz.report("net.dcz", "r.html", against="net.onnx").read_text("utf-8")
    shown, log = browse(Path("r.html"))
    assert "<button" in shown and "CONSOLE" not in log  # the script ran, under the page's own policy
    without_policy = re.sub(r"<meta http-equiv[^>]*>", "", text)
    Path("probe.html").write_text(without_policy.replace("</body>", f"<script>{PROBE}</script></body>"), "utf-8")
    shown, log = browse(Path("probe.html"), "--window-size=400,800")
    assert "CONSOLE" not in log, log
    said = json.loads(html.unescape(re.search(r"<body>(.*)</body>", shown, re.S)[1]))
    names = [row.name for row in dcz.inspect("net.dcz").rows]
    assert said["buttons"] == 11 and said["up"] == sorted(names) and said["down"] == sorted(names, reverse=True)
    figures = [int(each.replace(",", "")) for each in said["bytes"]]
    assert figures == sorted(figures, reverse=True) and said["sorted"] == "descending"
    assert said["found"] == ["fc1.weight"] and said["count"] == f"1 of {len(names)}"
    assert said["maps"] == ["none", "block", "none"] and said["hit"] == 1 and said["wide"]

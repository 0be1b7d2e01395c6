"""A model and samples for it: what tuning and sensitivity work on.

session = TuningSession("net.onnx", "samples.npz", Plan(), threads=2)
session.weight_names                       the tensors that the plan's default applies to
session.curves(session.batches(64))        what a bit buys in each of them
"""

import contextlib
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .. import calibrate
from .. import model as onnx_model
from ..calibrate import allocate
from ..codec.encode import quantize
from ..codec.stages.scale import RowScales
from ..compression.foldable import prepare
from ..compression.known_records import KnownRecords
from ..compression.options import as_plan
from ..errors import InvalidArgument, UnsuitableModel
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches, evenly_spaced
from ..evaluation.given import BatchAxis, Data, as_samples
from ..evaluation.kinds import GraphKinds
from ..evaluation.predictor import Predictor
from ..evaluation.samples import Samples
from ..plan import Plan, Settings
from ..tensor import ValueGrid, values
from .fitness import excess, misfit
from .padded import find_padding
from .usable import find_unusable, told_of

if TYPE_CHECKING:
    from onnx import ModelProto


MAX_SURVEYED = 128  # samples whose statistics serve all trials
KNOWN_SHARE = 4  # of the model's bytes: records that trials share, about those of the latest trial
MAX_BATCH = 16  # samples that are in memory together: what a network makes of them may take a hundred times the room


class TuningSession:
    """A model, samples for it, and the tensors that the plan's default applies to.

    `source`: the model that is compressed, with `folded` of its BatchNormalizations in the layers before them.
    `original`: the model before that and before `snapped` of its tensors were put on their grids. Large tensors lie in
    a temporary file. `calibration_model`: the one that runs; tensors that the plan's rules name are in it as the rules
    leave them, and what the plan names is hidden from calibration, biases too. `predictor`: the original model.
    `samples`: all arrays that were given; `predictor.samples` are those of the model's inputs. `weight_names`,
    `weight_count`: the tensors to calibrate, and the weights in them. `indices`: the samples that are used (int64),
    `sample_count` of them; `left_out`: those that tell nothing (usable.find_unusable). `encode`: makes records, of the
    same tensor once.
    """

    def __init__(
        self,
        model: "str | os.PathLike[str] | ModelProto",
        samples: Data | Samples,
        plan: Plan | Settings | str | os.PathLike[str] | None,
        threads: int,
        batch_axis: BatchAxis | None = None,
    ):
        self.source = onnx_model.open_dense(model, apart=True)
        onnx_model.move_apart(self.source)
        self.plan, self.threads = onnx_model.by_name(as_plan(plan), self.source.tensors), threads
        self.path = self.source.path or "the model"
        self.encode = KnownRecords(self.source.source_bytes // KNOWN_SHARE)
        self.plan.check_names(tensor.name for tensor in self.source.tensors)
        self.original = onnx_model.WorkingCopy(self.source)
        self.folded, self.snapped = prepare(self.source, self.plan)
        onnx_model.move_apart(self.source)
        self.tensors = {tensor.name: tensor for tensor in self.source.tensors}
        default = [tensor for tensor in self.source.tensors if self._is_by_default(tensor)]
        unfit = {tensor.name: why for tensor in default if (why := misfit(tensor)) is not None}
        self.weight_names = [tensor.name for tensor in default if tensor.name not in unfit]
        self._unfit = [why for why in unfit.values() if why]
        if not self.weight_names:
            raise UnsuitableModel(
                f"{self.path}: holds no weights that could be calibrated; "
                + (
                    self._unfit[0]
                    if self._unfit
                    else f"those of fewer than {self.plan.min_weights} stay exact, unless a plan sets min_weights"
                )
            )
        self.weight_count = sum(math.prod(self.tensors[name].shape) for name in self.weight_names)
        original = self.session_of(self.original)
        if not original.get_outputs():
            raise UnsuitableModel(f"{self.path}: has no output, so samples tell nothing of it: compress it without any")
        self.samples = as_samples(samples, batch_axis)
        self.predictor = Predictor(
            self.path, original, self.samples, None, GraphKinds(self.original.proto),
            reopen=lambda: self.session_of(self.original),
        )  # fmt: skip
        every = np.arange(self.predictor.count)
        # All are read, and run: a sample that does not fit is refused now, not after minutes of work.
        self.left_out = find_unusable(self.predictor, SampleBatches(self.predictor, every, MAX_BATCH))
        self.indices = np.setdiff1d(every, self.left_out)
        self.sample_count = len(self.indices)
        self.calibration_model = self._calibration_model()
        self._tables: dict[str, tuple[str, ...]] = {}

    def _is_by_default(self, tensor: onnx_model.ModelTensor) -> bool:
        """Whether the plan's default applies to a tensor, and rounds it."""
        if not tensor.dtype.real or tensor.is_bound or self.plan.rule(tensor.name) is not None:
            return False
        return not self.plan.settings(tensor.name, tensor.is_weight, math.prod(tensor.shape)).lossless

    def _calibration_model(self) -> onnx_model.Model:
        hidden = {name for name in self.tensors if self.plan.excludes(name) or self.plan.rule(name) is not None}
        if not hidden:
            return self.source
        ruled = {}
        for name in hidden:
            settings = self.plan.settings(name, True, 1 << 62)
            if self.tensors[name].dtype.real and not settings.lossless:
                ruled[name] = self.compressed_values(name, settings)
        model = onnx_model.WorkingCopy(self.source, ruled).model()
        visible = [tensor for tensor in model.tensors if tensor.name not in hidden]
        return dataclasses.replace(model, tensors=visible, path=self.source.path)

    @property
    def notes(self) -> list[str]:
        """What the user should know of tensors that samples cannot help to round, and of samples that are left out."""
        return [*self._unfit, *told_of(self.left_out, self.predictor.samples.path, self.path)]

    def values(self, name: str) -> np.ndarray:
        """A tensor's numbers as they are in the model."""
        return self.tensors[name].values()

    def compressed_values(self, name: str, settings: Settings) -> np.ndarray:
        """A tensor's numbers as they are after compression with these settings."""
        tensor = self.tensors[name]
        return values(quantize(tensor.tensor(), settings).view(tensor.dtype.pattern), tensor.dtype).reshape(
            tensor.shape
        )

    def batches(self, count: int) -> SampleBatches:
        """`count` samples, evenly spaced; all where there are fewer."""
        return SampleBatches(self.predictor, evenly_spaced(self.indices, count), MAX_BATCH)

    @functools.cached_property
    def padding(self) -> calibrate.Padding | None:
        """Where the padding of samples lies, where they have a mask."""
        return find_padding(self)

    @functools.cached_property
    def fine(self) -> dict[str, RowScales | None]:
        """The tensors that may lie on fine grids, and the scales of their rows: see calibrate.fine_rows. Once lookups
        were counted, tables too."""
        return calibrate.fine_rows(self.calibration_model, self.weight_names)

    def count_lookups(self, batches: SampleBatches) -> None:
        """From now on, tables lie on grids that are finer where these samples read their rows (calibrate.lookups)."""
        tables = calibrate.find_tables(self.calibration_model, self.weight_names)
        counts = calibrate.count_lookups(self.calibration_model, batches, tables, self.threads)
        telling = [name for name, count in counts.items() if calibrate.tells_use(count)]
        useful = [name for name in telling if calibrate.saves_bits(self.values(name), counts[name])]
        self._tables = {name: tables[name] for name in useful}
        self.fine.update(self.fine_for(batches))

    def fine_for(self, batches: SampleBatches) -> dict[str, RowScales | None]:
        """`fine`, with the scales of tables by how often these samples read their rows."""
        counts = calibrate.count_lookups(self.calibration_model, batches, self._tables, self.threads)
        by_use = {name: calibrate.scales_by_use(count, self.tensors[name].shape) for name, count in counts.items()}
        return self.fine | by_use

    def grids(self, names: Iterable[str]) -> dict[str, ValueGrid]:
        """The grids of calibrated values for the tensors of these names, where they may be fine or have scales."""
        grids = {}
        for name, row_scales in self.fine.items():
            if name in names and row_scales is None:
                grids[name] = ValueGrid(None, np.empty(0))
            elif name in names and row_scales is not None:
                grids[name] = ValueGrid(row_scales.axis, row_scales.scales, row_scales.steps)
        return grids

    def curves(self, batches: SampleBatches) -> dict[str, allocate.Curve]:
        """What a bit buys in each tensor, by its name."""
        with self.survey(batches, {}) as found:
            return found.curves

    def survey(
        self,
        batches: SampleBatches,
        fine: Mapping[str, RowScales | None],
        progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    ) -> calibrate.Survey:
        """What one walk through the network shows: see calibrate.survey; for `fine` calibrate.quantize_layers.

        The samples on which tensors are tried alone are not among those whose statistics round them: of a layer that
        sees fewer positions than it has inputs, as of a classifier behind a pooling, errors fit those samples by heart,
        and others tell a divergence many times as large. They are a third, or what is beyond MAX_SURVEYED: fewer leave
        the divergences to chance, and more the statistics of such layers. The same holds of tables, of which those
        samples read rows that are finer, where they count.
        """
        answers = calibrate.Divergence()
        names = [output.name for output in self.predictor.session.get_outputs()]
        for name, answer in zip(names, runtime.run(self.predictor.session, batches[0]), strict=True):
            answers.add(name, answer, answer)
        self.predictor.close()
        count = calibrate.trial_samples(answers.positions / batches.size_of(0), len(self.weight_names))
        chosen = evenly_spaced(batches.indices, MAX_SURVEYED + count)
        tried = evenly_spaced(chosen, max(1, min(count, max(len(chosen) // 3, len(chosen) - MAX_SURVEYED))))
        others = np.setdiff1d(chosen, tried)
        statistics, trials = (
            SampleBatches(self.predictor, indices, MAX_BATCH) for indices in (others if len(others) else tried, tried)
        )
        rest = np.setdiff1d(batches.indices, tried)
        judged = self.fine_for(SampleBatches(self.predictor, rest, MAX_BATCH)) if len(rest) and self._tables else fine
        with self.numerics_guard():
            found = calibrate.survey(
                self.calibration_model, statistics, self.weight_names, judged, self.threads, progress, trials,
                self.padding,
            )  # fmt: skip
        return dataclasses.replace(found, fine=fine)

    @contextlib.contextmanager
    def numerics_guard(self) -> Iterator[None]:
        """Turn the failures that NaN and infinities in a layer's inputs lead to into numerics_error."""
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                yield
        except (np.linalg.LinAlgError, IndexError) as error:  # IndexError: a level chosen by NaN
            raise self.numerics_error() from error

    def numerics_error(self) -> InvalidArgument:
        """The error for samples that calibration learns nothing from, or for numbers of the model that it cannot
        compute with."""
        path = self.predictor.samples.path
        if why := excess(self.source):
            return InvalidArgument(f"{self.path}: {why}")
        return InvalidArgument(
            f"{path}: {self.path} makes infinities or NaN of some samples, or one answer of all: that tells nothing"
        )

    def run_with(self, new: Mapping[str, np.ndarray]) -> runtime.Session:
        """An onnxruntime session of the calibration model with new values for some tensors."""
        return self.session_of(onnx_model.WorkingCopy(self.calibration_model, new))

    def session_of(self, copy: onnx_model.WorkingCopy) -> runtime.Session:
        """An onnxruntime session of a copy of the model."""
        runtime.give_back_memory()
        return runtime.loaded(copy.loadable(self.path), self.path, self.threads)

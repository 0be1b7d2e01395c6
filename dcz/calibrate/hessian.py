"""Statistics of a layer's inputs x, summed over all samples: H = E[x xT], the mean, and what the original inputs were.

    accumulator = Accumulator(groups=1, features=27, asymmetric=False)
    accumulator.add(x, lowering)                             of a Conv, say: x [n, 3, 8, 8], and its im2col
    accumulator.statistics().hessian(centered=True)          [1, 27, 27]

The loss of weights Q instead of W is tr((W - Q) H (W - Q)T): up to a factor of 2, H is the Hessian that GPTQ and
the optimal brain surgeon speak of.
"""

from dataclasses import dataclass

import numpy as np

from .im2col import ALL_POSITIONS, Lowering

PERCDAMP = 0.01  # of the mean of diag(H), added to the diagonal, as in GPTQ
MAX_FEATURES = 4096  # numbers of x that share an H; of more, H is block diagonal
ENOUGH = 1000  # positions for each of k inputs, from where correlations are known
MIN_SEEN = 1e-6  # of the mean of diag(H), below which an input tells nothing of correlations
ROWS = 256  # of a matrix that are changed together
MIN_VARIANCE = 1e-6  # of the mean square, added where the covariance stands for H
TOGETHER = 4  # positions that are multiplied at once: a quarter of k, so that adding k x k sums costs less than these


@dataclass(frozen=True, eq=False)
class InputStatistics:
    """Sums (float64) over `count` positions of inputs x of `features` = k numbers, cut into `parts` of equal width; all
    zero where there is no position.

    `total` [groups, k]: of x. `products` [groups * parts, k / parts, k / parts]: of x xT, part by part. Where
    calibration is asymmetric, with x0 the input that the original network has instead of x, `original_total`: of
    x0, and `cross_products`: of x0 xT; else None.
    """

    features: int
    parts: int
    count: int
    total: np.ndarray
    products: np.ndarray
    original_total: np.ndarray | None
    cross_products: np.ndarray | None

    @property
    def mean(self) -> np.ndarray:
        """E[x], [groups, k]."""
        mean: np.ndarray = self.total / max(1, self.count)
        return mean

    @property
    def original_mean(self) -> np.ndarray:
        """E[x0], [groups, k]; the mean of x where calibration is symmetric."""
        if self.original_total is None:
            return self.mean
        mean: np.ndarray = self.original_total / max(1, self.count)
        return mean

    def hessian(self, centered: bool) -> np.ndarray:
        """E[x xT], or the covariance where a bias takes the mean error, as far as so few positions tell it (see
        `shrink`): [groups * parts, k / parts, k / parts]."""
        hessian = self._second_moments(centered)
        shrink(hessian, self.count)
        return hessian

    def _second_moments(self, centered: bool) -> np.ndarray:
        """The same as summed up."""
        hessian: np.ndarray = self.products / max(1, self.count)
        if centered:
            # An input that never varies would leave nothing at all, and no order among the columns.
            floor = MIN_VARIANCE * np.diagonal(hessian, axis1=1, axis2=2).mean(1)
            self._subtract_outer(hessian, self.mean, self.mean)
            _add_to_diagonal(hessian, floor)
        return hessian

    def asymmetric_target(self, weights: np.ndarray, centered: bool, asymmetry: float) -> np.ndarray:
        """Weights V [groups, rows, k] that give on the present inputs about what `weights` W give on the original ones.

        Asymmetric reconstruction (Nagel et al., "Up or down? Adaptive rounding for post-training quantization", 2020;
        Li et al., "GPTAQ: efficient finetuning-free quantization for asymmetric calibration", 2025): the layer's inputs
        are those that the already quantized part gives, its target the original network's output. V is the minimum of
        E|V x - W x0|^2 + ridge |V - W|^2, that is V = W (E[x0 xT] + ridge I) (H + ridge I)^-1. The ridge is (1 /
        `asymmetry` - 1 + PERCDAMP) times the mean of diag(H): 1 is the damped least squares solution, toward 0 V goes
        to W, which is symmetric calibration.
        """
        assert self.cross_products is not None, "an asymmetric target needs the original network's inputs"
        hessian = self._second_moments(centered)
        cross = self.cross_products / max(1, self.count)
        if centered:
            self._subtract_outer(cross, self.original_mean, self.mean)
        mean = np.maximum(np.einsum("gkk->g", hessian) / hessian.shape[1], 1e-30)
        ridge = (1 / asymmetry - 1 + PERCDAMP) * mean
        _add_to_diagonal(cross, ridge)
        _add_to_diagonal(hessian, ridge)
        right = split_features(weights, self.parts, 2) @ cross
        del cross  # before another matrix of its size is made
        target = np.linalg.solve(hessian, np.swapaxes(right, 1, 2))
        return join_features(np.swapaxes(target, 1, 2), self.parts, self.features, 2)

    def _subtract_outer(self, matrices: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """Change `matrices`: take a bT away, part by part, a few rows at a time."""
        columns, rows = (split_features(each[:, :, None], self.parts, 1) for each in (a, b))
        size = matrices.shape[1]
        for start in range(0, size, ROWS):
            block = slice(start, start + ROWS)
            matrices[:, block] -= columns[:, block] * np.swapaxes(rows, 1, 2)


def shrink(matrices: np.ndarray, count: int) -> None:
    """Change `matrices` [groups, k, k] (E[x xT] over `count` positions): take from the correlations what chance adds.

    Oracle approximating shrinkage (Chen, Wiesel, Eldar and Hero, "Shrinkage algorithms for MMSE covariance estimation",
    2010, equation 23) of the matrix of correlations toward the identity. A layer behind a pooling, or of a perceptron,
    has one position a sample: two hundred of them leave most directions of a thousand inputs empty, where errors would
    cost nothing, and rounding would put them there. Where positions are more than inputs, it is as much less: that
    shrinkage is best for the matrix as a whole, and too strong for its small eigenvalues, which compensation is by.
    """
    if count > ENOUGH * matrices.shape[1]:
        return
    for matrix in matrices:
        diagonal = np.diagonal(matrix).copy()
        seen = diagonal > MIN_SEEN * max(float(diagonal.mean()), 1e-30)
        k = int(seen.sum())
        inverse = np.where(seen, 1 / np.where(seen, diagonal, 1), 0)
        square = 0.0  # of all correlations
        for start in range(0, len(matrix), ROWS):
            block = slice(start, start + ROWS)
            square += float(np.einsum("ij,ij,j,i->", matrix[block], matrix[block], inverse, inverse[block]))
        if k < 2 or square <= k:
            continue
        share = ((1 - 2 / k) * square + k**2) / ((count + 1 - 2 / k) * (square - k))
        matrix *= 1 - min(1.0, share) * min(1.0, k / count)
        np.einsum("kk->k", matrix)[...] = diagonal


def _add_to_diagonal(matrices: np.ndarray, numbers: np.ndarray) -> None:
    """Change `matrices` [groups, k, k]: add the number of each group to its diagonal."""
    np.einsum("gkk->gk", matrices)[...] += numbers[:, None]


class Accumulator:
    """Sums up InputStatistics batch by batch. It owns its sums and adds to them in place: of a layer with many inputs
    they may take a gigabyte.

    Blocks of few positions, as the steps of an unrolled recurrent layer have, wait for others: each product touches
    all of the k x k sums, however few positions it is of.
    """

    def __init__(self, groups: int, features: int, asymmetric: bool):
        self._features, self._parts, self._count = features, -(-features // MAX_FEATURES), 0
        width = -(-features // self._parts)
        self._total = np.zeros((groups, features))
        self._products = np.zeros((groups * self._parts, width, width))
        self._original_total = np.zeros((groups, features)) if asymmetric else None
        self._cross_products = np.zeros_like(self._products) if asymmetric else None
        self._waiting: list[tuple[np.ndarray, np.ndarray | None]] = []  # x and x0, in parts
        self._together = width // TOGETHER

    def add(
        self, x: np.ndarray, lowering: Lowering, max_positions: int = ALL_POSITIONS, original: np.ndarray | None = None
    ) -> None:
        """Count a batch `x` of the layer's inputs, of about `max_positions` positions of each sample.

        `original`: the same inputs in the original network, where calibration is asymmetric. Where these have another
        shape, as positions that depend on values have, nothing tells which belong together: the batch counts as if it
        were symmetric.
        """
        if not x.size:
            return
        if original is not None and original.shape != x.shape:
            original = x
        blocks = lowering.blocks(x, max_positions)
        if original is None:
            for block in blocks:
                self._add_block(block, None)
        else:
            for block, original_block in zip(blocks, lowering.blocks(original, max_positions), strict=True):
                self._add_block(block, original_block)

    def _add_block(self, block: np.ndarray, original_block: np.ndarray | None) -> None:
        """Count an im2col matrix [groups, k, samples, positions], and the one of the original network."""
        x = _flattened(block)
        self._count += x.shape[2]
        self._total += _sum(x)
        x0 = None
        if original_block is not None:
            assert self._original_total is not None
            x0 = _flattened(original_block)
            self._original_total += _sum(x0)
            x0 = split_features(x0, self._parts, 1)
        self._waiting.append((split_features(x, self._parts, 1), x0))
        if sum(each.shape[2] for each, _ in self._waiting) >= self._together:
            self._multiply()

    def _multiply(self) -> None:
        """Add the products of the blocks that wait."""
        if not self._waiting:
            return
        x = _joined([each for each, _ in self._waiting])
        if len(x) == 1:
            self._products[0] += x[0] @ x[0].T  # which numpy knows to be symmetric
        else:
            self._products += x @ np.swapaxes(x, 1, 2)
        originals = [original for _, original in self._waiting if original is not None]
        if originals:
            assert self._cross_products is not None
            self._cross_products += _joined(originals) @ np.swapaxes(x, 1, 2)
        self._waiting = []

    def statistics(self) -> InputStatistics:
        """What was summed up; nothing may be added afterwards."""
        self._multiply()
        return InputStatistics(
            self._features,
            self._parts,
            self._count,
            self._total,
            self._products,
            self._original_total,
            self._cross_products,
        )


def damping(hessian: np.ndarray) -> np.ndarray:
    """What is added to the diagonal of `hessian` (float64) in each group, so that it can be inverted: PERCDAMP of its
    mean.

    GPTQ, section 3.3, step 3: what 256 samples say is not to be trusted fully.
    """
    mean = np.einsum("gkk->g", hessian) / hessian.shape[1]
    mean = np.maximum(mean, max(float(mean.mean()) * 1e-3, 1e-30))  # a group that never saw anything
    added: np.ndarray = PERCDAMP * mean
    return added


def _flattened(block: np.ndarray) -> np.ndarray:
    """An im2col matrix as [groups, k, positions of all samples] (float32)."""
    return np.ascontiguousarray(block.reshape(*block.shape[:2], -1), np.float32)


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    """Blocks [groups, k, positions] as one."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=2)


def _sum(x: np.ndarray) -> np.ndarray:
    """Over all positions: [groups, k]."""
    total: np.ndarray = x @ np.ones(x.shape[2], np.float32)
    return total


def split_features(array: np.ndarray, parts: int, axis: int) -> np.ndarray:
    """[groups, ..., k, ...] as [groups * parts, ..., k / parts, ...], padded with zeros."""
    if parts == 1:
        return array
    size = array.shape[axis]
    width = -(-size // parts)
    padded = np.pad(array, [(0, parts * width - size if each == axis else 0) for each in range(array.ndim)])
    apart = padded.reshape(*array.shape[:axis], parts, width, *array.shape[axis + 1 :])
    return np.moveaxis(apart, axis, 1).reshape(-1, *array.shape[1:axis], width, *array.shape[axis + 1 :])


def join_features(array: np.ndarray, parts: int, size: int, axis: int) -> np.ndarray:
    """`split_features` undone, the padding cut off."""
    if parts == 1:
        return array
    apart = array.reshape(-1, parts, *array.shape[1:])
    joined = np.moveaxis(apart, 1, axis)
    shape = list(joined.shape)
    shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
    return np.take(joined.reshape(shape), np.arange(size), axis)

"""How bits are spread over the tensors of a model."""

import numpy as np
import pytest

from dcz.calibrate import allocate


@pytest.mark.parametrize("outlier", [1e3, -1e6, 1e30, -3.4e38])
def test_a_curve_of_weights_with_an_outlier_is_soon_known(outlier):
    """Levels as far as the outlier would not fit in memory."""
    weights = np.append(np.random.default_rng(0).normal(size=1000), outlier).astype(np.float32)
    curve = allocate.estimate_curve(weights, 0.01, 1.0)
    assert len(curve.steps) and curve.steps.min() >= abs(outlier) * 2.0**-21
    assert np.isfinite(curve.bits).all() and (np.diff(curve.bits) <= 1e-9).all()

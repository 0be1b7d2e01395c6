"""Copies of a model whose tensors were found once."""

import pytest

from dcz.model import SurveyedModel, open_model
from tests import models


@pytest.mark.parametrize("name", models.PLACES)
def test_copies_are_the_model_and_are_changed_alone(name):
    proto = models.place(name)
    surveyed, opened = SurveyedModel(proto), open_model(proto)
    assert surveyed.source() is proto and surveyed.source_bytes == opened.source_bytes
    first, second = surveyed.model(), surveyed.model()
    assert first.proto == second.proto == opened.proto and first.source_sha256 == opened.source_sha256
    assert len(first.tensors) == len(opened.tensors) > 0
    for copy, other, tensor in zip(first.tensors, second.tensors, opened.tensors, strict=True):
        assert (copy.name, copy.shape, copy.uses, copy.is_weight) == (
            tensor.name,
            tensor.shape,
            tensor.uses,
            tensor.is_weight,
        )
        assert bytes(copy.read()) == bytes(other.read()) == bytes(tensor.read())
        copy.replace_with_reference(0)
    assert first.proto != opened.proto and second.proto == surveyed.model().proto == opened.proto

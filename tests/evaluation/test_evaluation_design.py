"""Dense and sparse features side by side: held to the same matrix, all dense."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from earnest.evaluation.design import FARTHEST, Design, stacked


def design(num_rows: int = 30, num_dense: int = 4, num_sparse: int = 50) -> tuple[Design, np.ndarray]:
    random = np.random.default_rng()
    dense = random.normal(size=(num_rows, num_dense)).astype(np.float32)
    sparse = sp.random_array((num_rows, num_sparse), density=0.1, format="csr", dtype=np.float32, rng=random)
    return Design(dense, sp.csr_array(sparse)), np.concatenate([dense, sparse.toarray()], axis=1)


@pytest.mark.parametrize("shape", [(4, 50), (0, 50), (4, 0)])
def test_outputs_and_gradients_are_those_of_the_dense_matrix(shape: tuple[int, int]) -> None:
    ours, matrix = design(30, *shape)
    random = np.random.default_rng()
    weights, bias = random.normal(size=(3, sum(shape))), random.normal(size=3)
    errors = random.normal(size=(30, 3)).astype(np.float32)
    assert ours.num_features == sum(shape)
    np.testing.assert_allclose(ours.outputs(weights, bias), matrix @ weights.T + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.gradient(errors), errors.T @ matrix, rtol=1e-4, atol=1e-5)


def test_rows_are_taken_and_stacked() -> None:
    ours, matrix = design()
    rows = np.random.default_rng().permutation(30)
    again = stacked([ours[rows[:11]], ours[rows[11:]]])
    np.testing.assert_array_equal(again.dense, matrix[rows, :4])
    np.testing.assert_array_equal(again.texts.toarray(), matrix[rows, 4:])
    assert len(ours[3:5]) == 2


def test_only_dense_features_are_standardised() -> None:
    ours, matrix = design()
    centre, scale = matrix[:, :4].mean(0), matrix[:, :4].std(0)
    found = ours.standardised(centre, scale)
    np.testing.assert_allclose(found.dense, (matrix[:, :4] - centre) / scale, rtol=1e-4, atol=1e-5)
    assert (found.texts != ours.texts).nnz == 0
    assert np.abs(ours.standardised(centre - 1e6, scale).dense).max() == FARTHEST

"""The kernel against autograd in float64, and the training loop: what it learns, and what stops and resumes."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng

pytest.importorskip("numba")

from earnest.data.subwords import rows_of_all
from earnest.data.word_corpus import DTYPE, WordCorpus
from earnest.models.word2vec import Word2Vec
from earnest.training.checkpoints import Checkpoints
from earnest.training.word2vec import Plan, Training, num_threads, seconds_per_number
from earnest.training.word2vec_kernel import SIGMOID, Settings, Stretch, Tables, train_stretch
from earnest.training.word2vec_tables import FULL, alias_table, huffman_paths, keep_thresholds, noise_table

NOTHING = Tables(*(np.zeros(0, kind) for kind in ("u4", "u4", "i8", "i4", "f4", "i8", "i4")))._replace(
    alias=np.zeros((0, 2), np.uint32)
)
SEED = np.uint64(12)


def tables(counts: np.ndarray, *, tree: bool, subwords: int = 0, sample: float = 0.0) -> Tables:
    found = NOTHING._replace(keep=keep_thresholds(counts, sample))
    if tree:
        starts, nodes, turns = huffman_paths(counts)
        found = found._replace(path_starts=starts, nodes=nodes, turns=turns)
    else:
        found = found._replace(alias=noise_table(counts))
    if subwords:
        row_starts, rows = rows_of_all([f"word{i}" for i in range(len(counts))], subwords)
        found = found._replace(row_starts=row_starts, rows=rows)
    return found


def write_ids(path: Path, ids: np.ndarray) -> WordCorpus:
    ids.astype(DTYPE).tofile(path)
    return WordCorpus.open(path)


# The kernel


@pytest.mark.parametrize("average", [False, True], ids=["skip-gram", "cbow"])
@pytest.mark.parametrize("subwords", [0, 7], ids=["words", "subwords"])
def test_a_step_of_the_kernel_is_a_gradient_step_of_the_tree_s_loss(average: bool, subwords: int) -> None:
    """Hierarchical softmax draws nothing, so that autograd can be asked for the same step: one target, whole window."""
    rng = default_rng(average + subwords)
    counts = rng.integers(3, 60, 9)
    found, width, rate = tables(counts, tree=True, subwords=subwords), 13, 0.1
    network = Word2Vec(9 + subwords, 8, width=width, average=average).double()
    with torch.no_grad():
        network.inputs.copy_(torch.from_numpy(rng.normal(0, 0.5, network.inputs.shape)))
        network.outputs.copy_(torch.from_numpy(rng.normal(0, 0.5, network.outputs.shape)))
    inputs, outputs = (p.detach().numpy().astype(np.float32) for p in (network.inputs, network.outputs))
    ids = np.array([4, 1, 7, 1, 3], np.int32)  # the same word twice beside the target, which moves it twice
    stretch = Stretch(ids, 2, 3, 0, SEED)
    settings = Settings(1, 0, average, rate, 0.0, 0.0)  # a window of 1 has no random reach
    loss, pairs = train_stretch(stretch, found, settings, inputs, outputs, SIGMOID)

    def rows(word: int) -> torch.Tensor:
        return torch.tensor(found.rows[found.row_starts[word] : found.row_starts[word + 1]] if subwords else [word])

    path = slice(found.path_starts[7], found.path_starts[8])
    nodes, turns = torch.tensor(found.nodes[path]), torch.tensor(found.turns[path], dtype=torch.float64)
    expected = network.loss([rows(1), rows(1)], nodes, turns)
    expected.backward()
    assert pairs == (1 if average else 2)
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    for moved, parameter in ((inputs, network.inputs), (outputs, network.outputs)):
        assert parameter.grad is not None
        step = (parameter.detach() - rate * parameter.grad).numpy()
        assert np.abs(rate * parameter.grad.numpy()).max() > 1e-3
        np.testing.assert_allclose(moved, step, atol=2e-5)


def test_words_drawn_against_a_target_move_as_autograd_says() -> None:
    """With two words in the vocabulary every word that is drawn and is not the target is the other one."""
    rng = default_rng(5)
    inputs = rng.normal(0, 0.5, (2, 20)).astype(np.float32)
    outputs = rng.normal(0, 0.5, (2, 20)).astype(np.float32)
    network = Word2Vec(2, 2, width=20, average=False).double()
    with torch.no_grad():
        network.inputs.copy_(torch.from_numpy(inputs))
        network.outputs.copy_(torch.from_numpy(outputs))
    stretch = Stretch(np.array([1, 0], np.int32), 1, 2, 0, SEED)
    settings = Settings(1, 4, False, 0.1, 0.0, 0.0)
    loss, _ = train_stretch(stretch, tables(np.array([5, 5]), tree=False), settings, inputs, outputs, SIGMOID)
    losses = []
    for drawn in range(5):
        network.zero_grad()
        chosen = torch.tensor([0, *[1] * drawn])
        expected = network.loss([torch.tensor([1])], chosen, (chosen == 0).double())
        expected.backward()
        losses.append(abs(loss - expected.item()))
        if losses[-1] < 1e-3:
            for moved, parameter in ((inputs, network.inputs), (outputs, network.outputs)):
                assert parameter.grad is not None
                np.testing.assert_allclose(moved, (parameter.detach() - 0.1 * parameter.grad).numpy(), atol=2e-5)
    assert min(losses) < 1e-3, "so many words were drawn, from none to four"


@pytest.mark.parametrize("negatives", [0, 5])
def test_a_text_may_be_cut_anywhere(negatives: int) -> None:
    rng = default_rng(3)
    counts = np.sort(rng.integers(5, 500, 40))[::-1].copy()
    ids = rng.integers(-1, 40, 900).astype(np.int32)
    found = tables(counts, tree=not negatives, sample=1e-2)
    settings = Settings(5, negatives, False, 0.05, 1e-5, 1e-4)
    results = []
    for cuts in ([0, 900], [0, 1, 333, 334, 700, 900]):
        random = default_rng(4)
        inputs = random.normal(0, 0.1, (40, 24)).astype(np.float32)
        outputs = random.normal(0, 0.1, (40, 24)).astype(np.float32)
        told = []
        for first, last in pairwise(cuts):
            origin = max(0, first - 200)
            stretch = Stretch(ids[origin : last + 200], first - origin, last - origin, origin, SEED)
            told.append(train_stretch(stretch, found, settings, inputs, outputs, SIGMOID))
        results.append((inputs, outputs, sum(pairs for _, pairs in told)))
    assert results[0][2] == results[1][2] > 500
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])


def test_windows_end_where_lines_do_and_reach_as_far_as_chance_says() -> None:
    """With windows of 1 to 5 words, a word inside a long line is in (1 + 5) / 2 windows to either side on average."""
    counts = np.full(10, 100)
    inputs, outputs = np.zeros((10, 8), np.float32), np.zeros((10, 8), np.float32)
    settings = Settings(5, 1, False, 0.0, 0.0, 0.0)
    found = tables(counts, tree=False)

    def pairs(ids: list[int]) -> int:
        stretch = Stretch(np.array(ids, np.int32), 0, len(ids), 0, SEED)
        return int(train_stretch(stretch, found, settings, inputs, outputs, SIGMOID)[1])

    assert pairs([1, -1, 2, -1, 3, -1]) == 0
    assert pairs([1, 2, -1, 3]) == 2
    num = 20_000
    assert pairs([3] * num) / num == pytest.approx(6, abs=0.1)


def test_subsampling_leaves_words_as_often_as_the_formula_says() -> None:
    counts = np.array([9000, 900, 90, 10])
    share = counts / counts.sum()
    expected = np.minimum(1, np.sqrt(1e-2 / share) + 1e-2 / share)
    np.testing.assert_allclose(keep_thresholds(counts, 1e-2) / FULL, expected, rtol=1e-6)
    assert (keep_thresholds(counts, 0) == FULL).all()
    found = tables(counts, tree=False, sample=1e-2)
    matrices = np.zeros((4, 8), np.float32), np.zeros((4, 8), np.float32)
    num = 40_000
    ids = np.zeros(2 * num, np.int32)
    ids[1::2] = 3  # a rare word, always kept, after each common one; pairs tell how many of these are left
    stretch = Stretch(ids, 0, len(ids), 0, SEED)
    _, pairs = train_stretch(stretch, found, Settings(1, 1, False, 0.0, 0.0, 0.0), *matrices, SIGMOID)
    left = (pairs / 2 + 1) - num
    assert left / num == pytest.approx(expected[0], abs=0.01)


# What it looks up


def test_the_alias_table_holds_the_distribution_exactly() -> None:
    weights = default_rng(8).random(50) ** 4
    table = alias_table(weights)
    probability = np.zeros(50)
    for i, (threshold, other) in enumerate(table.tolist()):
        probability[i] += (threshold + 1) / 2**32 / 50
        probability[other] += (1 - (threshold + 1) / 2**32) / 50
    np.testing.assert_allclose(probability, weights / weights.sum(), atol=1e-8)


def test_the_probabilities_of_all_words_by_their_paths_sum_to_one() -> None:
    counts = default_rng(9).integers(1, 1000, 33)
    starts, nodes, turns = huffman_paths(counts)
    scores = default_rng(10).normal(0, 2, 32)
    left = 1 / (1 + np.exp(-scores))
    each = [np.prod(np.where(turns[a:b] == 1, left[nodes[a:b]], 1 - left[nodes[a:b]])) for a, b in pairwise(starts)]
    assert sum(each) == pytest.approx(1)
    lengths = np.diff(starts)
    order = np.argsort(counts)
    assert (np.diff(lengths[order]) <= 0).all() or lengths[order[-1]] == lengths.min()
    entropy = -(counts / counts.sum() * np.log2(counts / counts.sum())).sum()
    assert entropy <= (counts * lengths).sum() / counts.sum() < entropy + 1, "Huffman's bound"


# The loop


def two_topics(num_lines: int = 1500, seed: int = 0) -> np.ndarray:
    """Words 0 to 9 stand together, 10 to 19 do, and 20 and 21 with all."""
    rng = default_rng(seed)
    lines = []
    for _ in range(num_lines):
        topic = rng.integers(2)
        line = np.where(rng.random(10) < 0.2, rng.integers(20, 22, 10), rng.integers(0, 10, 10) + 10 * topic)
        lines.append(np.append(line, -1))
    return np.concatenate(lines)


def started(corpus: WordCorpus, *, threads: int = 1, epochs: float = 2.0, tree: bool = False, average: bool = False):  # type: ignore[no-untyped-def]
    ids = corpus.read(0, corpus.num)
    counts = np.array([Counter(ids.tolist())[word] for word in range(22)])
    torch.manual_seed(1)
    network = Word2Vec(22, 21 if tree else 22, width=16, average=average)
    plan = Plan(epochs, threads, 0.1, 3, 0 if tree else 5, average, 7)
    return Training(network.inputs, network.outputs, corpus, tables(counts, tree=tree), plan)


@pytest.mark.parametrize(
    ("threads", "tree", "average"),
    [(1, False, False), (1, True, False), (1, False, True), (1, True, True), (3, False, False)],
)
def test_words_that_stand_together_come_to_lie_together(
    tmp_path: Path, threads: int, tree: bool, average: bool
) -> None:
    training = started(write_ids(tmp_path / "ids", two_topics()), threads=threads, epochs=4, tree=tree, average=average)
    epochs = [report for report in training.run() if report.kind == "epoch"]
    assert len(epochs) == 4
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].share == pytest.approx(1)
    vectors = training.tensors["inputs"].numpy()
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = directions[:20] @ directions[:20].T
    same = np.kron(np.eye(2), np.ones((10, 10))).astype(bool)
    off = ~np.eye(20, dtype=bool)
    assert cosines[same & off].min() > cosines[~same].max()


@pytest.mark.parametrize("stops", [1, 4])
def test_stopped_and_resumed_it_ends_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: int) -> None:
    monkeypatch.setattr("earnest.training.word2vec.STRETCH", 1000)
    corpus = write_ids(tmp_path / "ids", two_topics(500))
    whole = started(corpus)
    losses = [report.loss for report in whole.run() if report.kind == "epoch"]
    again = started(corpus)
    again_losses = []
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for _ in range(stops):
        for report in again.run(stop=lambda: True):
            again_losses += [report.loss] if report.kind == "epoch" else []
            if report.kind == "step":
                break
        again.save(checkpoints)
        saved = checkpoints.last()
        assert saved is not None
        again = started(corpus)
        again.tensors["inputs"].fill_(3.0)
        again.restore(*saved)
    assert again.progress.done[0] > 0 or again.progress.epoch > 0
    again_losses += [report.loss for report in again.run() if report.kind == "epoch"]
    assert again_losses == losses
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, again.tensors[name])


def test_a_part_of_a_pass_ends_where_it_should(tmp_path: Path) -> None:
    corpus = write_ids(tmp_path / "ids", two_topics(300))
    training = started(corpus, epochs=1.5)
    reports = list(training.run())
    assert training.progress.finished
    epochs = [report for report in reports if report.kind == "epoch"]
    assert [report.epoch for report in epochs] == [0, 1]
    assert epochs[1].pairs == pytest.approx(epochs[0].pairs / 2, rel=0.1)
    assert epochs[1].share == pytest.approx(1, abs=1e-3)


def test_a_try_tells_the_pace(tmp_path: Path) -> None:
    assert seconds_per_number(started(write_ids(tmp_path / "ids", two_topics(50)))) > 0


def test_short_texts_are_for_one_thread() -> None:
    assert num_threads(1000, 8) == 1
    assert num_threads(250_000, 8) == 2
    assert num_threads(10_000_000, 8) == 8

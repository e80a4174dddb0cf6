"""Word2Vec: vectors of words, learned by telling which words stand near which.

T. Mikolov, K. Chen, G. Corrado & J. Dean, "Efficient estimation of word representations in vector space", ICLR
workshop 2013 (skip-gram and CBOW), and with I. Sutskever, "Distributed representations of words and phrases and their
compositionality", NeurIPS 2013 (negative sampling, subsampling, phrases). Subwords: P. Bojanowski, E. Grave,
A. Joulin & T. Mikolov, "Enriching word vectors with subword information", TACL 2017.

The module says what is computed; training moves its two matrices by a kernel of its own (`earnest.training.word2vec`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec

MIKOLOV = "Mikolov, Chen, Corrado & Dean, Efficient estimation of word representations in vector space, ICLR 2013"
STEP = "a step of the kernel equals autograd's, in float64, to 2e-5"


class Word2Vec(nn.Module):
    """Two matrices: words as they are seen around a target, and targets (or the nodes of a tree over them)."""

    def __init__(self, num_inputs: int, num_outputs: int, *, width: int, average: bool) -> None:
        super().__init__()
        self.average = average
        self.inputs = nn.Parameter(torch.empty(num_inputs, width).uniform_(-0.5, 0.5).div_(width))
        self.outputs = nn.Parameter(torch.zeros(num_outputs, width))

    def forward(self, bags: Sequence[Tensor], chosen: Tensor) -> Tensor:
        """Scores (m, n) of the words of a window against `chosen` rows (n,) of a target; CBOW gives (1, n).

        A bag is the input rows of a word: itself and its subwords. A word's vector is their mean.
        """
        if self.average:
            bags = [torch.cat(list(bags))]
        vectors = torch.stack([self.inputs[bag].mean(0) for bag in bags])
        return vectors @ self.outputs[chosen].T

    def loss(self, bags: Sequence[Tensor], chosen: Tensor, labels: Tensor) -> Tensor:
        """Sum over pairs of -log p, `labels` (n,) being 1 where a score should be high and 0 where it should be low."""
        scores = self(bags, chosen)
        return F.binary_cross_entropy_with_logits(scores, labels.expand_as(scores), reduction="sum")


def _build(
    average: bool,
    spec: InputSpec,
    num_outputs: int,
    width: int,
    negatives: int,
    min_count: int,
    sample: float,
    phrases: int,
    subwords: bool,
    buckets: int,
) -> Word2Vec:
    if spec.kind != "tokens":
        name = "cbow" if average else "skip-gram"
        raise OptionError(f"the model {name!r} reads running text, and this is {spec.kind}.")
    for option, value, least in (
        ("width", width, 1),
        ("negatives", negatives, 0),
        ("min_count", min_count, 1),
        ("sample", sample, 0),
        ("phrases", phrases, 0),
        ("buckets", buckets, 1),
    ):
        if not isinstance(value, (int, float)) or value < least:
            raise OptionError(f"the model's option {option} is {value!r}; give a number from {least} up.")
    (vocabulary,) = spec.cardinalities
    return Word2Vec(vocabulary + buckets * subwords, num_outputs, width=width, average=average)


ABOUT = {
    "paper": MIKOLOV,
    "input": None,
    "parameters": None,
    "kinds": ("words",),
    "task": "word-vectors",
    "reproduced": STEP,
}


@models.register(
    "skip-gram",
    **ABOUT,
    family="word2vec",
    title="Word2Vec, skip-gram",
    year=2013,
    reference="gensim 4.4 on text8, 100 wide: WordSim353 .624, SimLex-999 .250",
    tiny=False,
)
def skip_gram(
    spec: InputSpec,
    num_outputs: int,
    *,
    width: int = 100,
    negatives: int = 5,
    min_count: int = 5,
    sample: float = 1e-3,
    phrases: int = 0,
    subwords: bool = False,
    buckets: int = 200_000,
) -> Word2Vec:
    """Each word of a window for itself tells the word in its middle.

    Args:
        width: of the vectors.
        negatives: words drawn against each; 0 for hierarchical softmax in place of drawing.
        min_count: words that occur less often are unknown.
        sample: share of the text above which a word is thinned out (Mikolov's subsampling); 0 never does.
        phrases: rounds of joining pairs such as new_york to one word.
        subwords: whether a word's vector is the mean of its own and those of its runs of 3 to 6 characters, so that
            words never seen have one too.
        buckets: vectors that subwords share by a hash.
    """
    return _build(False, spec, num_outputs, width, negatives, min_count, sample, phrases, subwords, buckets)


@models.register(
    "cbow",
    **ABOUT,
    family="word2vec",
    title="Word2Vec, continuous bag of words",
    year=2013,
    reference="none of this corpus and width",
    tiny=False,
)
def cbow(
    spec: InputSpec,
    num_outputs: int,
    *,
    width: int = 100,
    negatives: int = 5,
    min_count: int = 5,
    sample: float = 1e-3,
    phrases: int = 0,
    subwords: bool = False,
    buckets: int = 200_000,
) -> Word2Vec:
    """The words of a window together, by their mean, tell the word in its middle; options as of `skip_gram`."""
    return _build(True, spec, num_outputs, width, negatives, min_count, sample, phrases, subwords, buckets)

"""Every registered model through one suite: a new one is held to all of it without a line added here.

What costs a forward pass runs for all of them on the meta device, which computes shapes only; what needs numbers runs
for the small ones, each family's tiny preset among them.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earnest.core import weights
from earnest.core.errors import OptionError
from earnest.core.registry import Entry, models
from earnest.core.words import Inputs, InputSpec

ABOUT = {"family", "title", "year", "paper", "input", "parameters", "reference", "reproduced", "kinds", "tiny"}
KINDS = {"image", "vector", "table", "columns", "tokens"}
WORDS, MAKES_PICTURES = "words", "noise"
"""Kinds of systems that answer in their own way, and of networks that answer nothing: they have suites of their own."""
LEARN_WITHOUT_LABELS = ("rbm", "dbn")
"""Families whose visible biases only the learning without labels moves."""
NUM_OUTPUTS = 5
EVERY = list(models)
ENTRIES = [entry for entry in EVERY if WORDS not in entry.about["kinds"]]
ANSWERING = [entry for entry in ENTRIES if MAKES_PICTURES not in entry.about["kinds"]]
ALL = [pytest.param(entry, kind, id=f"{entry.name}-{kind}") for entry in ANSWERING for kind in entry.about["kinds"]]
SMALL = [
    pytest.param(entry, kind, id=f"{entry.name}-{kind}")
    for entry in ANSWERING
    for kind in entry.about["kinds"]
    if entry.about["tiny"] or (entry.about["parameters"] or 1e9) < 100_000
]
FEATURES = [case for case in ALL if case.values[1] != "table" and not case.values[0].about.get("per_token")]


def spec_for(entry: Entry, kind: str) -> InputSpec:
    """An input that the model takes: 32 x 32 colour images where it is small."""
    if kind == "table":
        return InputSpec("table", (3,), (4, 5))
    if kind == "vector":
        return InputSpec("vector", (24,))
    if kind == "tokens":
        return InputSpec("tokens", (12,), (50, 20, 5) if entry.about.get("per_token") else (50,))
    if kind == "columns":
        image, table = InputSpec("image", (3, 16, 16)), InputSpec("table", (3,), (4, 5))
        return InputSpec("columns", (), parts=(image, InputSpec("image", (1, 8, 12)), table))
    small = entry.about["tiny"] or entry.about["input"] is None
    return InputSpec("image", (3, 32, 32) if small else entry.about["input"])


def some_inputs(spec: InputSpec, number: int) -> Inputs:
    """Random inputs on the default device."""
    if spec.kind == "columns":
        each = [some_inputs(part, number) for part in spec.parts]
        return tuple(x for its in each for x in (its if isinstance(its, tuple) else (its,)))
    if spec.kind == "tokens":
        return some_texts(spec, number)
    numbers = torch.randn(number, *spec.shape)
    if spec.kind != "table":
        return numbers
    codes = [torch.randint(0, cardinality, (number,)) for cardinality in spec.cardinalities]
    return numbers, torch.stack(codes, dim=1)


def some_texts(spec: InputSpec, number: int) -> tuple[Tensor, ...]:
    """Tokens and lengths; for a tagger the characters, six at most, and the shapes of words too."""
    (longest,), (vocabulary, *others) = spec.shape, spec.cardinalities
    lengths = torch.cat([torch.full((1,), longest), torch.randint(4, longest + 1, (number - 1,))])
    real = torch.arange(longest) < lengths[:, None]
    inputs = [torch.randint(1, vocabulary, (number, longest)) * real, lengths]
    if others:
        characters, shapes = others
        written = torch.arange(6) < torch.randint(1, 7, (number, longest, 1))
        inputs.append(torch.randint(1, characters, (number, longest, 6)) * written * real[..., None])
        inputs.append(torch.randint(0, shapes, (number, longest)) * real)
    return tuple(inputs)


def num_outputs(entry: Entry) -> int:
    """Of the published network."""
    return entry.about.get("num_outputs", 1000)


@cache
def shapes_only(name: str, spec: InputSpec) -> nn.Module:
    """The published network on the meta device, in evaluation mode."""
    with torch.device("meta"):
        return models[name].build(spec, num_outputs(models[name])).eval()


def published_input(entry: Entry) -> InputSpec:
    """The input for which the stated parameters were counted."""
    if "tokens" in entry.about["kinds"]:
        return InputSpec("tokens", entry.about["input"], (entry.about["vocabulary"],))
    return InputSpec("image", entry.about["input"])


def take(inputs: Inputs, row: int, kind: str) -> Inputs:
    """One row; a text loses the padding that it had beside longer ones."""
    if isinstance(inputs, Tensor):
        return inputs[row : row + 1]
    parts = tuple(part[row : row + 1] for part in inputs)
    return tuple(part if part.ndim == 1 else part[:, : int(parts[1])] for part in parts) if kind == "tokens" else parts


def small_network(entry: Entry, kind: str) -> tuple[nn.Module, InputSpec]:
    """The model with its dropout off."""
    spec = spec_for(entry, kind)
    network = entry.build(spec, NUM_OUTPUTS)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network, spec


def answers(entry: Entry, network: nn.Module, inputs: Inputs) -> Tensor:
    """The network's outputs; a tagger's for real words alone, (words, outputs)."""
    outputs = network(inputs)
    if not entry.about.get("per_token"):
        return outputs
    return outputs[torch.arange(outputs.shape[1]) < network.num_words(inputs)[:, None]]


def loss_of(network: nn.Module, inputs: Inputs, labels: Tensor) -> Tensor:
    """To be learned; all words of a row have its label for a tag."""
    outputs = network(inputs)
    if not hasattr(network, "crf"):
        return cross_entropy(outputs, labels)
    tags = labels[:, None].expand(outputs.shape[:2])
    return network.crf.nll(outputs, tags, network.num_words(inputs)).mean()


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """For an ensemble, (B, members, outputs), the mean of its members'."""
    logits = outputs.reshape(len(labels), -1, outputs.shape[-1])
    members = logits.shape[1]
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(members))


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in EVERY])
def test_what_is_known_of_it_is_complete(entry: Entry) -> None:
    about = entry.about
    assert set(about) >= ABOUT
    assert all(isinstance(about[key], str) for key in ("family", "title", "paper", "reference", "reproduced"))
    assert about["tiny"] or (about["reference"] and about["reproduced"]), "where there is nothing, say so"
    assert 1940 <= about["year"] <= 2100
    assert set(about["kinds"]) <= {*KINDS, WORDS, MAKES_PICTURES}
    assert about["kinds"]
    assert about["parameters"] is None or about["input"] is not None, "a count belongs to an input"


def test_every_family_has_exactly_one_tiny_preset() -> None:
    tiny = Counter(entry.about["family"] for entry in ENTRIES if entry.about["tiny"])
    assert tiny == Counter({entry.about["family"] for entry in ENTRIES})


@pytest.mark.parametrize(
    "entry", [pytest.param(entry, id=entry.name) for entry in ENTRIES if entry.about["parameters"]]
)
def test_the_parameter_count_is_as_stated(entry: Entry) -> None:
    network = shapes_only(entry.name, published_input(entry))
    assert sum(parameter.numel() for parameter in network.parameters()) == entry.about["parameters"]


@pytest.mark.parametrize(
    "entry", [pytest.param(entry, id=entry.name) for entry in ENTRIES if entry.about.get("weights")]
)
def test_its_weights_are_known_and_its_own(entry: Entry) -> None:
    known = weights.find(entry.about["weights"])
    assert known.architecture == entry.name
    assert known.layout in entry.about["layouts"]
    assert known.kind in entry.about["kinds"]
    if not isinstance(known.preprocessing, weights.Preprocessing):
        return
    expected = entry.about["preprocessing"]
    assert (known.preprocessing.size, known.preprocessing.mean, known.preprocessing.std) == (
        expected["size"],
        expected["mean"],
        expected["std"],
    )


@pytest.mark.parametrize(("entry", "kind"), ALL)
def test_outputs_have_the_right_shape(entry: Entry, kind: str) -> None:
    spec = spec_for(entry, kind)
    network = shapes_only(entry.name, spec)
    with torch.device("meta"):
        outputs = network(some_inputs(spec, 3))
    assert (outputs.shape[0], outputs.shape[-1]) == (3, num_outputs(entry))
    apart = kind == "table" or entry.about.get("per_token")
    assert outputs.ndim == 2 or (apart and outputs.ndim == 3), "ensembles for tables, and taggers, answer many times"


@pytest.mark.parametrize(("entry", "kind"), FEATURES)
def test_features_and_a_new_head_make_the_output(entry: Entry, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_for(entry, kind)
    network = shapes_only(entry.name, spec)
    with torch.device("meta"):
        inputs = some_inputs(spec, 3)
        assert network.features(inputs).shape == (3, network.num_features)
        monkeypatch.setitem(network._modules, "head", nn.Linear(network.num_features, 13))
        assert network(inputs).shape == (3, 13)


@pytest.mark.parametrize(("entry", "kind"), ALL)
def test_an_input_of_another_kind_is_refused(entry: Entry, kind: str) -> None:
    for other in KINDS - set(entry.about["kinds"]):
        with pytest.raises(OptionError, match=r"the model '[\w-]+' reads"):
            entry.build(spec_for(entry, other), NUM_OUTPUTS)


@pytest.mark.parametrize(("entry", "kind"), SMALL)
def test_one_output_is_enough(entry: Entry, kind: str) -> None:
    spec = spec_for(entry, kind)
    outputs = entry.build(spec, 1).eval()(some_inputs(spec, 3))
    assert (outputs.shape[0], outputs.shape[-1]) == (3, 1)


@pytest.mark.parametrize(("entry", "kind"), SMALL)
def test_every_parameter_gets_a_gradient(entry: Entry, kind: str) -> None:
    network, spec = small_network(entry, kind)
    loss_of(network.train(), some_inputs(spec, 32), torch.randint(NUM_OUTPUTS, (32,))).backward()
    for name, parameter in network.named_parameters():
        if entry.about["family"] in LEARN_WITHOUT_LABELS and name.endswith("visible_bias"):
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("entry", "kind"), SMALL)
def test_it_learns_eight_random_examples_by_heart(entry: Entry, kind: str) -> None:
    network, spec = small_network(entry, kind)
    inputs, labels = some_inputs(spec, 8), torch.randint(NUM_OUTPUTS, (8,))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    network.train()
    for _ in range(600):
        loss = loss_of(network, inputs, labels)
        if loss < 0.05:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.05


@pytest.mark.parametrize(("entry", "kind"), SMALL)
def test_one_row_or_many_the_answers_are_the_same(entry: Entry, kind: str) -> None:
    network, spec = small_network(entry, kind)
    inputs = some_inputs(spec, 9)
    with torch.inference_mode():
        network.train()(inputs)  # so that normalisation has seen something
        together = answers(entry, network.eval(), inputs)
        apart = torch.cat([answers(entry, network, take(inputs, row, kind)) for row in range(9)])
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-5 * float(together.abs().max().clamp_min(1)))


@pytest.mark.parametrize(("entry", "kind"), SMALL)
def test_saved_and_loaded_it_answers_the_same(entry: Entry, kind: str, tmp_path: Path) -> None:
    network, spec = small_network(entry, kind)
    inputs = some_inputs(spec, 9)
    with torch.inference_mode():
        network.train()(inputs)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    loaded, _ = small_network(entry, kind)
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    with torch.inference_mode():
        assert torch.equal(loaded.eval()(inputs), network.eval()(inputs))


@pytest.mark.parametrize(("entry", "kind"), SMALL)
def test_a_seed_decides_the_first_parameters(entry: Entry, kind: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(20)
        states.append(small_network(entry, kind)[0].state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

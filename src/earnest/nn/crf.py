"""The linear-chain conditional random field: a score for a whole sequence of tags.

J. Lafferty, A. McCallum & F. Pereira, "Conditional random fields", ICML 2001; on top of a network: G. Lample et al.,
"Neural architectures for named entity recognition", arXiv:1603.01360, equations 1 to 4.

A sequence's score is the sum of what the network says of each tag (its emissions) and of what each pair of neighbours
is worth. All is computed in logarithms, vectorised over rows and tags; only the moments go one by one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PADDING = -100
"""What stands for no tag, past a row's length."""


class LinearChainCRF(nn.Module):
    """Scores for neighbouring tags, for the first and for the last.

    Which tags may follow one another can be fixed (`constrain`): that holds for `decode` alone, so that a training row
    that breaks the rule costs no infinite loss.
    """

    may_start: Tensor
    may_follow: Tensor
    may_end: Tensor

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags).uniform_(-0.1, 0.1))
        self.end = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.register_buffer("may_start", torch.ones(num_tags, dtype=torch.bool))
        self.register_buffer("may_follow", torch.ones(num_tags, num_tags, dtype=torch.bool))
        self.register_buffer("may_end", torch.ones(num_tags, dtype=torch.bool))

    def constrain(self, may_start: Tensor, may_follow: Tensor, may_end: Tensor) -> None:
        """Decode only tags that may start, follow and end: bool (K,), (K, K) as [tag, the next tag], and (K,)."""
        self.may_start.copy_(may_start)
        self.may_follow.copy_(may_follow)
        self.may_end.copy_(may_end)

    def nll(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Each row's negative log-likelihood (B,), in nats.

        Args:
            emissions: (B, T, K) scores.
            tags: (B, T) int64 from 0 to K - 1; anything past a row's length.
            lengths: (B,) int64 of at least 1.
        """
        emissions = emissions.float() if emissions.dtype in (torch.float16, torch.bfloat16) else emissions
        return self._log_partition(emissions, lengths) - self._score(emissions, tags, lengths)

    def marginals(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Each tag's probability at each place, given the whole row: (B, T, K), zeros past a row's length.

        They are the derivatives of the log-partition with respect to the emissions.
        """
        with torch.enable_grad():
            emissions = emissions.detach().float().requires_grad_()
            (marginals,) = torch.autograd.grad(self._log_partition(emissions, lengths).sum(), emissions)
        return marginals

    @torch.no_grad()
    def decode(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """Each row's best sequence of tags by Viterbi's algorithm: (B, T) int64, `PADDING` past a row's length."""
        emissions = emissions.float()
        forbidden = -1e30  # finite, so that a row all of whose sequences are forbidden still has a best one
        transitions = self.transitions.masked_fill(~self.may_follow, forbidden)
        best = emissions[:, 0] + self.start.masked_fill(~self.may_start, forbidden)
        came_from = []
        everyone = torch.arange(best.shape[1], device=best.device)
        for t in range(1, emissions.shape[1]):
            scores, previous = (best[:, :, None] + transitions).max(1)
            goes_on = (t < lengths)[:, None]
            best = torch.where(goes_on, scores + emissions[:, t], best)
            came_from.append(torch.where(goes_on, previous, everyone))
        tag = (best + self.end.masked_fill(~self.may_end, forbidden)).argmax(1, keepdim=True)
        backwards = [tag]
        for previous in reversed(came_from):
            tag = previous.gather(1, tag)
            backwards.append(tag)
        tags = torch.cat(backwards[::-1], dim=1)
        return tags.masked_fill(torch.arange(tags.shape[1], device=tags.device) >= lengths[:, None], PADDING)

    def _score(self, emissions: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """(B,) scores of the rows' own tags."""
        real = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]
        tags = tags.masked_fill(~real, 0)
        emitted = emissions.gather(2, tags[..., None])[..., 0].masked_fill(~real, 0).sum(1)
        between = self.transitions[tags[:, :-1], tags[:, 1:]].masked_fill(~real[:, 1:], 0).sum(1)
        last = tags.gather(1, lengths[:, None] - 1)[:, 0]
        return self.start[tags[:, 0]] + emitted + between + self.end[last]

    def _log_partition(self, emissions: Tensor, lengths: Tensor) -> Tensor:
        """(B,) logarithms of the sum over all sequences of exp(score): the forward algorithm.

        With each row's largest logarithm taken out, the sum over previous tags is a matrix product. What would
        underflow there, a pair of tags worth under -87, counts as if it were worth that.
        """
        least = torch.finfo(emissions.dtype).tiny
        transitions = self.transitions.exp()
        alpha = self.start + emissions[:, 0]
        for t, emitted in enumerate(emissions.unbind(1)[1:], start=1):
            largest = alpha.detach().amax(1, keepdim=True)
            summed = ((alpha - largest).exp() @ transitions).clamp_min(least).log() + largest
            alpha = torch.where((t < lengths)[:, None], summed + emitted, alpha)
        return torch.logsumexp(alpha + self.end, dim=1)

"""Architectures, one family a file: pure `torch.nn.Module`s that know neither data nor training."""

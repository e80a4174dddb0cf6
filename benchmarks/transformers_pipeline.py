"""The peer: transformers' text-classification pipeline, run by the Python of an environment of its own.

Its last line is JSON: the seconds that the pipeline took for all texts, and the probabilities of each text's classes.
At its defaults it takes one text at a time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
import transformers
from transformers import pipeline


def main() -> None:
    """Answer and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path, help="JSON, as text_throughput.py writes it")
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--sorted", action="store_true", help="the longest texts first, so that batches are alike")
    options = parser.parse_args()
    job = json.loads(options.job.read_text())
    classify = pipeline("text-classification", model=job["model"], device="cpu")
    limits = {"truncation": True, "max_length": job["max_length"], "top_k": None}
    classify(job["texts"][:2], **limits)
    texts = job["texts"]
    started = time.perf_counter()
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row])) if options.sorted else list(range(len(texts)))
    answers = classify([texts[row] for row in order], batch_size=options.batch_size, **limits)
    placed = dict(zip(order, answers, strict=True))
    seconds = time.perf_counter() - started
    answer = {
        "seconds": seconds,
        "probabilities": [
            [one["score"] for one in sorted(placed[row], key=lambda one: one["label"])] for row in range(len(texts))
        ],
        "threads": torch.get_num_threads(),
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

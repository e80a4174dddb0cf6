"""The peer: transformers.Trainer on texts, run by the Python of an environment of its own.

Its last line is JSON: the seconds of Trainer.train, the class predicted for each held-out text, and versions. What is
named neither in the job nor on the command line is transformers' default: batches drawn at random and padded to their
longest text, AdamW, gradients clipped at 1, a linear schedule, float32.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments


def main() -> None:
    """Train, predict and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path, help="JSON, as fine_tuning_speed.py writes it")
    parser.add_argument(
        "--tuned", action="store_true", help="texts grouped by length, and bfloat16 where the CPU has it"
    )
    parser.add_argument("--no-attention-dropout", action="store_true")
    options = parser.parse_args()
    job = json.loads(options.job.read_text())
    transformers.set_seed(job["seed"])
    tokenizer = AutoTokenizer.from_pretrained(job["weights"])
    changes = {"attention_probs_dropout_prob": 0.0} if options.no_attention_dropout else {}
    model = AutoModelForSequenceClassification.from_pretrained(job["weights"], num_labels=job["num_classes"], **changes)

    def encoded(**columns: Any) -> Dataset:
        def encode(rows: dict[str, Any]) -> Any:
            return tokenizer(rows["text"], truncation=True, max_length=job["max_length"])

        return Dataset.from_dict(columns).map(encode, batched=True, remove_columns="text")

    tuned: dict[str, Any] = {"train_sampling_strategy": "group_by_length", "bf16": has_bf16()}
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            num_train_epochs=job["epochs"],
            per_device_train_batch_size=job["batch_size"],
            learning_rate=job["lr"],
            seed=job["seed"],
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            **(tuned if options.tuned else {}),
        )
        train = encoded(text=job["texts"], label=job["labels"])
        trainer = Trainer(model=model, args=arguments, train_dataset=train, processing_class=tokenizer)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        trainer.args.train_sampling_strategy = "random"  # answers would come grouped by length, too
        predicted = trainer.predict(encoded(text=job["held_out"])).predictions.argmax(-1)
    answer = {
        "seconds": seconds,
        "predicted": predicted.tolist(),
        "steps": trainer.state.global_step,
        "bf16": arguments.bf16,
        "threads": torch.get_num_threads(),
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
    }
    print(json.dumps(answer), flush=True)


def has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16."""
    facts = Path("/proc/cpuinfo")
    return facts.is_file() and any(flag in facts.read_text() for flag in ("avx512_bf16", "amx_bf16"))


if __name__ == "__main__":
    main()

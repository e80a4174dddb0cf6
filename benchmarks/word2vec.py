"""Word2Vec's words a second, memory and quality, beside gensim's, on the same words in the same run.

    python benchmarks/word2vec.py --peer-python ../peers/gensim/bin/python
    python benchmarks/word2vec.py --peer-python ../peers/gensim/bin/python --words 200000 --epochs 1 --seeds 1   # a try

enwiki-60mb, cut into lower-case words once; skip-gram, width 100, window 5, 5 negatives, words that occur 5 times,
subsampling at 1e-3. Both sides take turns, with as many threads as there are cores, gensim from a file
(`corpus_file`) and through its queue. The vectors of both are judged by the same code. Ours sets a hundredth of the
text aside, which is not counted among its words. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import earnest
from earnest.api.similar import vectors_of
from earnest.core.run import Run
from earnest.data.readers.word_pairs import WordPairs, read_word_test
from earnest.data.running_text import RunningText
from earnest.evaluation.word_similarity import score_analogies, score_pairs
from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
CORPUS = DATA / "enwiki-60mb" / "enwiki_60mb.txt.xz"
TESTS = ("wordsim353.tsv", "simlex999.txt", "EN-MEN-TR-3k.txt", "questions-words.txt.gz")
MODES = ("corpus_file", "queue")
ASKED, FLOOR = 3.0, 2.0
SETTINGS: dict[str, Any] = {"width": 100, "window": 5, "negatives": 5, "min_count": 5, "sample": 1e-3}
ALLOWED_BYTES = 100_000_000
"""Above two matrices and a tenth, and what the imports take."""


def main() -> None:
    """Take turns, judge the vectors, and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, help="of the environment with gensim")
    parser.add_argument("--words", type=int, default=None, help="of the text; all unless given")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--note", default="", help="what else a reader must know")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours is not None:
        print(json.dumps(ours(json.loads(options.ours.read_text()))))
        return
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in ("earnest", *MODES)}
    with tempfile.TemporaryDirectory() as scratch:
        corpus = cut(Path(scratch) / "corpus.txt", options.words)
        for seed in range(options.seeds):
            for name, its in turns.items():
                job = {**SETTINGS, "corpus": str(corpus), "seed": seed, "epochs": options.epochs}
                job |= {"threads": options.threads, "mode": name, "out": str(Path(scratch) / f"{name}-{seed}")}
                its.append({**run(options.peer_python, job), **judged(job)})
                print(name, its[-1], flush=True)
    speeds = {name: statistics.median(one["words a second"] for one in its) for name, its in turns.items()}
    best = max(speeds[name] for name in MODES)
    memory = [one["bytes above imports"] / one["bytes allowed"] for one in turns["earnest"]]
    record(
        "word2vec",
        {
            "settings": {**SETTINGS, "epochs": options.epochs, "threads": options.threads},
            "words a second": {name: round(speed) for name, speed in speeds.items()},
            "times gensim's best": round(speeds["earnest"] / best, 2),
            "means of scores": {name: means(its) for name, its in turns.items()},
            "largest share of the memory allowed": round(max(memory), 3),
            "turns": turns,
            "reached": speeds["earnest"] >= ASKED * best and max(memory) <= 1 and as_good(turns),
        },
        asked=f"{ASKED:g} times gensim's best in words a second ({FLOOR:g} is the floor), no score below gensim's "
        "interval; memory of 2 V d 4 bytes + 10% + 100 MB above what the imports take",
        note="; ".join(filter(None, ("medians over seeds; vocabularies are built before and not timed", options.note))),
    )


def cut(path: Path, most: int | None) -> Path:
    """The text in words, a line of it a line."""
    num = 0
    with path.open("w", encoding="utf-8") as file:
        for words in RunningText(CORPUS).words():
            file.write(" ".join(words).replace(" \n ", "\n").replace(" \n", "\n"))
            num += len(words)
            if most is not None and num >= most:
                break
            file.write(" ")
    return path


def run(peer_python: Path | None, job: dict[str, Any]) -> dict[str, Any]:
    """One turn, in a process of its own."""
    file = Path(job["out"] + ".json")
    file.write_text(json.dumps(job))
    here = Path(__file__).resolve()
    if job["mode"] == "earnest":
        command = [sys.executable, str(here), "--ours", str(file)]
    else:
        assert peer_python is not None, "--peer-python is needed"
        command = [str(peer_python), str(here.with_name("gensim_word2vec.py")), str(file)]
    threads = {"OMP_NUM_THREADS": str(job["threads"])}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **threads})
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """Fit, after a small fit that imports and compiles whatever there is to; memory is counted from there."""
    out = Path(job["out"])
    recipe = out.with_suffix(".toml")
    model_options = [f"{name} = {job[name]}" for name in ("width", "negatives", "min_count", "sample")]
    recipe.write_text("\n".join([f'window = {job["window"]}\ntokens = "spaces"', "[model_options]", *model_options]))
    small = out.with_suffix(".small.txt")
    with open(job["corpus"], encoding="utf-8") as file:
        small.write_text(file.read(200_000))
    options = {"task": "word-vectors", "recipe": recipe, "seed": job["seed"], "quiet": True}
    earnest.fit(small, epochs=1, out=out.with_suffix(".small"), **options)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    started = time.monotonic()
    run = earnest.fit(job["corpus"], epochs=job["epochs"], out=out, **options)
    seconds = time.monotonic() - started
    above = memory("VmHWM") - before
    facts = run.facts()
    parts, vocabulary = facts["data"]["split"], facts["data"]["vocabulary"]
    learned = facts["data"]["rows"] * parts["train"] / (parts["train"] + parts["test"])
    (trained,) = Run(run.path).events("trained")
    epochs = list(Run(run.path).events("epoch"))
    return {
        "words a second": round(learned * job["epochs"] / trained["seconds"]),
        "seconds of training": round(trained["seconds"], 2),
        "seconds in all": round(seconds, 2),
        "words": round(learned),
        "pairs a word": epochs[-1]["pairs"] / learned,
        "losses": [epoch["train_loss"] for epoch in epochs],
        "vocabulary": vocabulary,
        "bytes above imports": above,
        "bytes allowed": round(1.1 * 2 * vocabulary * job["width"] * 4) + ALLOWED_BYTES,
    }


def memory(key: str) -> int:
    """Bytes, by /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("this benchmark needs Linux's /proc")


def judged(job: dict[str, Any]) -> dict[str, Any]:
    """The vectors' scores on each test."""
    path = Path(job["out"] if job["mode"] == "earnest" else job["out"] + ".bin")
    vectors, scores = vectors_of(path), {}
    for name in TESTS:
        test = read_word_test(DATA / "word-similarity" / name)
        if isinstance(test, WordPairs):
            low = tuple((first.lower(), second.lower()) for first, second in test.pairs)
            found = score_pairs(vectors, WordPairs(test.name, low, test.judged), seed=0)
        else:
            lower = [tuple(word.lower() for word in question) for question in test.questions]
            found = score_analogies(vectors, type(test)(test.name, tuple(lower), test.sections))  # type: ignore[arg-type]
        scores[found["name"]] = {"known": found["known"], **(found["score"] or {"value": None})}
    return {"scores": scores}


def means(turns: list[dict[str, Any]]) -> dict[str, float | None]:
    """Of each score over the seeds."""
    return {name: _mean([one["scores"][name]["value"] for one in turns]) for name in turns[0]["scores"]}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.mean(known), 4) if known else None


def as_good(turns: dict[str, list[dict[str, Any]]]) -> bool:
    """Whether none of our mean scores is below gensim's lowest interval, over its seeds and both of its modes."""
    own = means(turns["earnest"])
    return all(
        own[name] is not None and own[name] >= min(one["scores"][name]["low"] for mode in MODES for one in turns[mode])
        for name in own
    )


if __name__ == "__main__":
    main()

"""The peer: gensim's Word2Vec, run by the Python of an environment of its own.

Its last line is JSON: words a second of training, without the building of the vocabulary; the vectors go to a file in
word2vec's binary format.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import gensim
from gensim.models.word2vec import LineSentence, Word2Vec


def main() -> None:
    """Train as the job says, and report."""
    job = json.loads(Path(sys.argv[1]).read_text())
    model = Word2Vec(
        vector_size=job["width"],
        window=job["window"],
        negative=job["negatives"],
        min_count=job["min_count"],
        sample=job["sample"],
        sg=1,
        workers=job["threads"],
        epochs=job["epochs"],
        seed=job["seed"] + 1,
    )
    corpus = {"corpus_file": job["corpus"]}
    if job["mode"] == "queue":
        corpus = {"corpus_iterable": LineSentence(job["corpus"])}
    begun = time.monotonic()
    model.build_vocab(**corpus)
    started = time.monotonic()
    totals = {"total_examples": model.corpus_count, "total_words": model.corpus_total_words}
    effective, raw = model.train(**corpus, **totals, epochs=job["epochs"])
    seconds = time.monotonic() - started
    model.wv.save_word2vec_format(job["out"] + ".bin", binary=True)
    answer = {
        "words a second": round(raw / seconds),
        "effective words a second": round(effective / seconds),
        "seconds of training": round(seconds, 2),
        "seconds in all": round(time.monotonic() - begun, 2),
        "words": model.corpus_total_words,
        "vocabulary": len(model.wv),
        "versions": {"gensim": gensim.__version__},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

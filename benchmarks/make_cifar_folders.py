"""CIFAR-10's JPEGs as folders of class folders, for us and for peers: OUT/{train,val,test}/CLASS/INDEX.jpg.

    python benchmarks/make_cifar_folders.py ../peers/cifar --train 20000 --validation 4000 --test 2000
    python benchmarks/make_cifar_folders.py ../peers/cifar-full                  # 50,000 and 10,000, no val/

Images are taken in their original order, which is random: the training part first, the validation part after it. Needs
nothing but the standard library.
"""

from __future__ import annotations

import argparse
import os
import tarfile
from collections import Counter
from pathlib import Path


def main() -> None:
    """Read the two archives and write the folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--train", type=int, default=50_000, help="images in train/")
    parser.add_argument("--validation", type=int, default=0, help="images in val/, from those after the training ones")
    parser.add_argument("--test", type=int, default=10_000, help="images in test/, from the official test set")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EARNEST_DATA", "../shared/data")))
    options = parser.parse_args()
    if options.train + options.validation > 50_000:
        parser.error("CIFAR-10 has 50,000 training images")
    if options.out.exists():
        parser.error(f"{options.out} exists already")

    ends = {"train": options.train, "val": options.train + options.validation}
    archives = options.data / "cifar10"
    counts = unpack(archives / "cifar10_train_jpg.tar.xz", options.out, ends)
    counts += unpack(archives / "cifar10_test_jpg.tar.xz", options.out, {"test": options.test})
    print(", ".join(f"{count} in {part}/" for part, count in counts.items()))


def unpack(archive: Path, out: Path, ends: dict[str, int]) -> Counter[str]:
    """Write each member SPLIT/INDEX_LABEL.jpg to the first part whose end is above INDEX; the counts of the parts."""
    counts: Counter[str] = Counter()
    with tarfile.open(archive, "r:xz") as members:
        for member in members:
            if not member.isfile() or not member.name.endswith(".jpg"):
                continue
            index, label = Path(member.name).stem.split("_")
            part = next((part for part, end in ends.items() if int(index) < end), None)
            content = members.extractfile(member)
            if part is None or content is None:
                continue
            folder = out / part / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index}.jpg").write_bytes(content.read())
            counts[part] += 1
    return counts


if __name__ == "__main__":
    main()

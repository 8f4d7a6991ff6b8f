"""Prints a short table of the figures that scripts/check-cuda.sh left in a folder: cuda_table.py FOLDER"""
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def lines(folder, part):
    """The JSON objects among the lines of a part's file."""
    path = Path(folder) / f"{part}.txt"
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except ValueError:
                pass  # cut off


def grouped(items, *keys):
    out = defaultdict(list)
    for item in items:
        out[tuple(item.get(key) for key in keys)].append(item)
    return out


def median(items, key):
    return statistics.median(item[key] for item in items)


def share(items, key):
    return statistics.median(item[key] / item[f"limit_{key}"] for item in items)


def row(name, *cells):
    print(f"{name:44}" + "".join(f"{cell:>16}" for cell in cells))


def main(folder):
    machine = {}
    for part in ["speed", "training", "kernels", "peers"]:
        for line in lines(folder, part):
            if line["type"] == "card":
                sm = line.get("sm_mhz", {}).get("median", "?")
                print(f"{part}: {line['name']}, driver {line['driver']}, SM at {sm} of {line['max_sm_mhz']} MHz")
            if line["type"] == "machine":
                machine.setdefault(line["instruction"], []).append(line)
    for instruction, of in machine.items():
        print(f"limits: {median(of, 'bytes_per_second') / 1e12:.2f} TB/s, "
              f"{median(of, 'flops_per_second') / 1e12:.0f} TFLOP/s ({instruction})")
    peers = list(lines(folder, "peers"))
    print()
    row("", "tokens/s", "of limit", "peer tokens/s", "times the peer")

    def figure(name, items, peer):
        speed = median(items, "tokens_per_second")
        cells = [f"{speed:.0f}", f"{100 * share(items, 'tokens_per_second'):.0f}%"]
        if peer:
            cells += [f"{peer[0]['tokens_per_second']:.0f}", f"{speed / peer[0]['tokens_per_second']:.2f}"]
        row(name, *cells)

    def peer(kind, **wanted):
        return [p for p in peers if p["type"] == kind and all(p.get(k) == v for k, v in wanted.items())]

    for (kind, trunk, branches), items in grouped(lines(folder, "speed"), "type", "trunk", "branches").items():
        if kind == "prefill":
            figure(f"prefill of {trunk}", items, peer("prefill", tokens=trunk))
        elif kind == "decode":
            figure(f"decode, {branches} branches over {trunk}", items, peer("decode", batch=branches, context=trunk))
        elif kind == "decode_apart":
            figure(f"decode, {branches} sequences of {trunk}", items, [])
    training = []
    for line in lines(folder, "training"):
        if line["type"] == "model":
            shape = "qwen3-4b" if line["parameters"] > 1e9 else "qwen3-0.6b"
        elif line["type"] == "train":
            training.append(line | {"shape": shape})
    for (shape, tokens), items in grouped(training, "shape", "tokens").items():
        figure(f"train {shape}, {tokens} tokens", items, peer("train", shape=shape, tokens=tokens))


if __name__ == "__main__":
    main(sys.argv[1])

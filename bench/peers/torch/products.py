"""torch.matmul over the matrices of a shape, and the bandwidth of a copy.

Weights take turns among copies that outgrow every cache, and on a GPU the calls are replayed as one graph, so that no
launch is waited for.
"""
import time

import torch

from common import SHAPES, median_seconds, parse, parser, report


def copy(options):
    count = 1_000_000_000 if options.device == "cuda" else 100_000_000
    source = torch.ones(count, dtype=torch.bfloat16, device=options.device)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), options, rounds=9)
    report("copy", bytes_per_second=4 * count / seconds)


def matrices(shape):
    """Of a layer, [n, k], and of the head."""
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    q, kv = (shape["head_dim"] * shape[heads] for heads in ("num_attention_heads", "num_key_value_heads"))
    return {"qkv": (q + 2 * kv, hidden), "output": (hidden, q), "gate, up": (2 * inner, hidden),
            "down": (hidden, inner), "vocabulary": (shape["vocab_size"], hidden)}


def product(options, name, n, k, rows):
    copies = min(max(2, 400_000_000 // (2 * n * k)), 64)
    weights = torch.randn(copies, n, k, dtype=torch.bfloat16, device=options.device)
    x = torch.randn(rows, k, dtype=torch.bfloat16, device=options.device)
    out = torch.empty(rows, n, dtype=torch.bfloat16, device=options.device)

    def each():
        for weight in weights:
            torch.matmul(x, weight.t(), out=out)

    work = each
    if options.device == "cuda":
        each()  # the libraries are loaded outside of the capture
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            each()
        work = graph.replay
    seconds = median_seconds(work, options, rounds=9) / copies
    report("product", name=name, n=n, k=k, rows=rows, us=1e6 * seconds,
           flops_per_second=2 * rows * n * k / seconds, bytes_per_second=2 * n * k / seconds)


def main():
    arguments = parser(__doc__, seconds=15)
    arguments.add_argument("--rows", default="1,8,32,256,4096,8192")
    options = parse(arguments)
    copy(options)
    for rows in map(int, options.rows.split(",")):
        for name, (n, k) in matrices(SHAPES[options.shape]).items():
            # No forward wants the logits of more rows at a time.
            if (name != "vocabulary" or rows <= 256) and time.monotonic() < options.end:
                product(options, name, n, k, rows)


main()

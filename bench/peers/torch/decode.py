"""Decoding with a static cache and a compiled step, replayed as a CUDA graph: sequences of equal length, greedy."""
import time

import torch
from transformers import StaticCache

from common import model, parse, parser, report, synchronize


def measure(qwen, batch, context, options):
    began = time.monotonic()
    tokens = options.tokens
    cache = StaticCache(config=qwen.config, max_cache_len=context + 2 * tokens)
    prompt = torch.randint(qwen.config.vocab_size, (batch, context), device=options.device)
    for i in range(0, context, 1024):
        part = prompt[:, i:i + 1024]
        position = torch.arange(i, i + part.shape[1], device=options.device)[None]
        last = qwen(part, position_ids=position, past_key_values=cache, logits_to_keep=1).logits[:, -1:].argmax(-1)

    def step(token, position):
        return qwen(token, position_ids=position, past_key_values=cache).logits.argmax(-1)

    compiled = torch.compile(step, mode="reduce-overhead" if options.device == "cuda" else "default", fullgraph=True)
    token, position = last.clone(), torch.full((1, 1), context, device=options.device)

    def decode(count):
        nonlocal token
        for _ in range(count):
            torch.compiler.cudagraph_mark_step_begin()
            token = compiled(token, position).clone()
            position.add_(1)

    decode(3)  # compiles, records, replays
    synchronize(options)
    ready = time.monotonic() - began
    seconds = []
    for _ in range(options.rounds):
        count = tokens // options.rounds
        start = time.perf_counter()
        decode(count)
        synchronize(options)
        seconds.append((time.perf_counter() - start) / count)
    middle = sorted(seconds)[len(seconds) // 2]
    report("decode", shape=options.shape, batch=batch, context=context, tokens_per_second=batch / middle,
           us=1e6 * middle, until_ready_s=ready)


@torch.no_grad()
def main():
    arguments = parser(__doc__, seconds=40)
    arguments.add_argument("--cases", default="1x512,8x4096", help="sequences x tokens of context")
    arguments.add_argument("--tokens", type=int, default=60)
    arguments.add_argument("--rounds", type=int, default=5)
    options = parse(arguments)
    qwen = model(options).eval()
    for case in options.cases.split(","):
        if time.monotonic() < options.end:
            torch.compiler.reset()
            measure(qwen, *map(int, case.split("x")), options)


main()

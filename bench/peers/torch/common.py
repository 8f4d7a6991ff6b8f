"""What the programs here share: options, models with random weights, and medians. Each prints a JSON object a line."""
import argparse
import json
import statistics
import time

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

SHAPES = {
    "qwen3-4b": dict(hidden_size=2560, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8,
                     head_dim=128, intermediate_size=9728, vocab_size=151936),
    "qwen3-0.6b": dict(hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
                       head_dim=128, intermediate_size=3072, vocab_size=151936),
    "tiny": dict(hidden_size=256, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                 intermediate_size=768, vocab_size=1024),
}


def parser(description, seconds):
    out = argparse.ArgumentParser(description=description)
    out.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    out.add_argument("--shape", choices=list(SHAPES), default="qwen3-4b")
    out.add_argument("--threads", type=int, default=0, help="of the CPU; 0: as PyTorch likes")
    out.add_argument("--seconds", type=float, default=seconds, help="no new measurement is begun after so many")
    return out


def parse(arguments):
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    options.end = time.monotonic() + options.seconds
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} threads"
    report("peer", torch=torch.__version__, device=device)
    return options


def model(options):
    """In bf16, with weights as transformers initialises them, and attention by scaled_dot_product_attention."""
    torch.manual_seed(1)
    config = Qwen3Config(**SHAPES[options.shape], max_position_embeddings=40960, tie_word_embeddings=True,
                         rope_theta=1e6, attn_implementation="sdpa", dtype=torch.bfloat16)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(options.device):
            return Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def report(kind, **figures):
    print(json.dumps(dict(type=kind) | figures), flush=True)


def synchronize(options):
    if options.device == "cuda":
        torch.cuda.synchronize()


def median_seconds(work, options, rounds=5, warm_ups=1):
    """The median of several calls, of fewer where time runs out, after calls that do not count."""
    times = []
    for i in range(warm_ups + rounds):
        synchronize(options)
        start = time.perf_counter()
        work()
        synchronize(options)
        if i >= warm_ups:
            times.append(time.perf_counter() - start)
        if times and time.monotonic() > options.end:
            break
    return statistics.median(times)

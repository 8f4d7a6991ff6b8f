"""Forward, backward and optimizer step over a prompt and an answer with one block of parallel branches.

The mask and the positions are explicit, as trainers of such models pass them; the work is that of
bench/native/training.cc. Weights and gradients are bf16; AdamW's masters and moments are fp32.
"""
import time

import torch
import torch.nn.functional as F

from common import median_seconds, model, parse, parser, report, synchronize

PLAN_TOKENS = 8


def stretches(tokens, branches):
    """Lengths: what comes before the steps, of which the first is the prompt; each step; what comes behind the join."""
    prompt, step = tokens // 4, tokens // 2 // branches
    header = 1 + branches * PLAN_TOKENS + 2
    return prompt, header, step, tokens - prompt - header - branches * step


def layout(tokens, branches, device):
    """Positions [tokens] and visibility [tokens, tokens]: steps do not see each other, and all begin at one position."""
    prompt, header, step, rest = stretches(tokens, branches)
    trunk = prompt + header
    index = torch.arange(tokens, device=device)
    branch = torch.where((index >= trunk) & (index < tokens - rest), (index - trunk) // step, -1)
    # The separator behind the plans shares its position with the steps' first token; a join goes on behind the last
    # step's end, which a separator of its own follows.
    position = torch.where(branch >= 0, trunk - 1 + (index - trunk) % step, index)
    position = torch.where(index >= tokens - rest, trunk - 1 + step - 1 + index - (tokens - rest), position)
    joined = index >= tokens - rest
    same = (branch[None, :] < 0) | (branch[None, :] == branch[:, None]) | joined[:, None]
    return position, same & (index[None, :] <= index[:, None])


def resident():
    with open("/proc/self/status") as status:
        return {line.split(":")[0]: 1024 * int(line.split()[1]) for line in status if line.startswith("Vm")}


class Memory:
    """Bytes that a stretch of work needs at most, beyond what there was when it began."""

    def __init__(self, options):
        self.cuda = options.device == "cuda"
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        else:
            with open("/proc/self/clear_refs", "w") as clear:
                clear.write("5")  # the peak, proc(5)
            self.before = resident()["VmRSS"]

    def extra(self):
        return (torch.cuda.max_memory_allocated() if self.cuda else resident()["VmHWM"]) - self.before


class AdamW:
    """PyTorch's own over fp32 masters; the model's bf16 weights are their copies."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.masters = [p.detach().float() for p in parameters]
        self.inner = torch.optim.AdamW(self.masters, lr=1e-6, weight_decay=0.01, fused=True)

    def step(self):
        for master, parameter in zip(self.masters, self.parameters):
            master.grad = parameter.grad.float()
        torch.nn.utils.clip_grad_norm_(self.masters, 1.0)
        self.inner.step()
        for master, parameter in zip(self.masters, self.parameters):
            parameter.data.copy_(master)
            master.grad = None
            parameter.grad.zero_()


def measure(qwen, optimizer, tokens, options):
    torch.manual_seed(tokens)
    prompt = stretches(tokens, options.branches)[0]
    ids = torch.randint(qwen.config.vocab_size, (1, tokens), device=options.device)
    position, visible = layout(tokens, options.branches, options.device)
    mask = torch.zeros(tokens, tokens, dtype=torch.bfloat16, device=options.device)
    mask.masked_fill_(~visible, torch.finfo(torch.bfloat16).min)
    rows = torch.arange(prompt - 1, tokens - 1, device=options.device)  # they predict all but the prompt

    def forward():
        logits = qwen(ids, attention_mask=mask[None, None], position_ids=position[None], use_cache=False,
                      logits_to_keep=rows).logits[0]
        return F.cross_entropy(logits.float(), ids[0, prompt:])

    def forward_backward():
        forward().backward()

    forward_backward()  # gradients are there from now on
    synchronize(options)
    memory = Memory(options)
    seconds = median_seconds(forward_backward, options, rounds=3, warm_ups=0)
    extra = memory.extra()
    with torch.no_grad():
        forward_seconds = median_seconds(forward, options, rounds=1, warm_ups=0)
    figures = dict(shape=options.shape, tokens=tokens, branches=options.branches,
                   visible_pairs=int(visible.sum()), tokens_per_second=tokens / seconds, forward_s=forward_seconds,
                   forward_backward_s=seconds, beyond_states_bytes=extra)
    if optimizer:
        figures["update_s"] = median_seconds(optimizer.step, options, rounds=1)
    report("train", **figures)


def main():
    arguments = parser(__doc__, seconds=25)
    arguments.add_argument("--tokens", default="4096")
    arguments.add_argument("--branches", type=int, default=4)
    arguments.add_argument("--recompute", choices=["none", "layer"], help="default: layer for the 4B shape alone")
    arguments.add_argument("--update", action="store_true", help="measure the optimizer, too")
    options = parse(arguments)
    qwen = model(options).train()
    if (options.recompute or ("layer" if options.shape == "qwen3-4b" else "none")) == "layer":
        qwen.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    optimizer = AdamW(list(qwen.parameters())) if options.update else None
    for tokens in map(int, options.tokens.split(",")):
        if time.monotonic() < options.end:
            measure(qwen, optimizer, tokens, options)


main()

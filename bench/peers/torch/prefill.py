"""A forward over prompts, with the logits of the last token."""
import torch

from common import median_seconds, model, parse, parser, report


@torch.inference_mode()
def main():
    arguments = parser(__doc__, seconds=25)
    arguments.add_argument("--tokens", default="512,8192")
    options = parse(arguments)
    qwen = model(options)
    for tokens in map(int, options.tokens.split(",")):
        prompt = torch.randint(qwen.config.vocab_size, (1, tokens), device=options.device)
        seconds = median_seconds(lambda: qwen(prompt, use_cache=True, logits_to_keep=1), options)
        report("prefill", shape=options.shape, tokens=tokens, tokens_per_second=tokens / seconds)


main()

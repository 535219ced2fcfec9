#!/usr/bin/env python3
"""Checks the result file of one `vllm bench serve` run: every request was answered in full, and every time was measured."""

import argparse
import json
import sys

# A chat template adds its tokens to every prompt; no template adds as many as this.
TEMPLATE_TOKENS = 64


def faults(result, requests, input_tokens, output_tokens):
    def want(good, message):
        if not good:
            yield message

    total_in, total_out = result["total_input_tokens"], result["total_output_tokens"]
    most_in = requests * (input_tokens + TEMPLATE_TOKENS)
    yield from want(result["completed"] == requests, f"{result['completed']} of {requests} requests completed")
    yield from want(result["failed"] == 0, f"{result['failed']} requests failed")
    yield from want(total_out == requests * output_tokens, f"{total_out} tokens out, want {requests * output_tokens}")
    # The client only cuts: a prompt that is shorter in the server's tokens stays so.
    yield from want(most_in / 2 < total_in <= most_in, f"{total_in} tokens in, want at most {most_in} and more than half")
    for name in ("ttft", "tpot", "itl", "e2el"):
        mean = result[f"mean_{name}_ms"]
        yield from want(mean > 0, f"mean {name} is {mean} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--input-tokens", type=int, required=True)
    parser.add_argument("--output-tokens", type=int, required=True)
    args = parser.parse_args()
    with open(args.file) as file:
        result = json.load(file)
    found = list(faults(result, args.requests, args.input_tokens, args.output_tokens))
    for fault in found:
        print(f"check.py: {args.file}: {fault}", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

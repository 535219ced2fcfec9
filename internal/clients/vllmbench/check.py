#!/usr/bin/env python3
"""Checks the result file of one `vllm bench serve` run: every request was answered in full, and every time was measured."""

import argparse
import json
import sys

# A chat template adds its tokens to every prompt; no template adds as many as this.
TEMPLATE_TOKENS = 64


def faults(result, requests, input_tokens, output_tokens):
    total_in, total_out = result["total_input_tokens"], result["total_output_tokens"]
    most_in = requests * (input_tokens + TEMPLATE_TOKENS)
    checks = [
        (result["completed"] == requests, f"{result['completed']} of {requests} requests completed"),
        (result["failed"] == 0, f"{result['failed']} requests failed"),
        (total_out == requests * output_tokens, f"{total_out} tokens out, want {requests * output_tokens}"),
        # The client only cuts: a prompt that is shorter in the server's tokens stays so.
        (most_in / 2 < total_in <= most_in, f"{total_in} tokens in, want at most {most_in} and more than half of it"),
    ]
    for name in ("ttft", "tpot", "itl", "e2el"):
        mean = result[f"mean_{name}_ms"]
        checks.append((mean > 0, f"mean {name} is {mean} ms"))
    return [message for good, message in checks if not good]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--input-tokens", type=int, required=True)
    parser.add_argument("--output-tokens", type=int, required=True)
    args = parser.parse_args()
    with open(args.file) as file:
        result = json.load(file)
    found = faults(result, args.requests, args.input_tokens, args.output_tokens)
    for fault in found:
        print(f"check.py: {args.file}: {fault}", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

"""Derives the profiles of the simulated engine from aisimulate's measured operator tables.

    G(m)  ms of an iteration of m tokens beside attention over other tokens
    a     ms for each new prompt token and each token of context that it sees
    b     ms for each token in the KV cache of a sequence that decodes

With a name, prints that profile as an entry of step-times.json. Without, compares every entry of
step-times.json with what the tables give, and fails where they differ too much.
"""

import json
import pathlib
import re
import sys

from aisimulate_core.sdk.engine import EngineHandle

TABLE = pathlib.Path(__file__).parents[2] / "internal/enginesim/step-times.json"
MODELS = {"": "meta-llama/Meta-Llama-3.1-70B", "llama-8b-": "meta-llama/Meta-Llama-3.1-8B"}
NAME = re.compile(r"(llama-8b-)?(a100|h100|h200)-(fp8-)?tp(\d)")
TOLERANCE = 0.03  # of the time of an iteration


class Operators:
    """The time of one iteration in ms, from the operator tables."""

    def __init__(self, name):
        model, gpu, fp8, tp = NAME.fullmatch(name).groups(default="")
        quant = {"gemm_quant_mode": "fp8"} if fp8 else {}
        self.engine = EngineHandle.compile(MODELS[model], f"{gpu}_sxm", "vllm", tp_size=int(tp), **quant)

    def prefill(self, tokens, context=0, prompts=1):
        return self.engine.predict_prefill_latency(prompts, context + tokens, context)

    def decode(self, sequences, context):
        return self.engine.predict_decode_latency(sequences, context)


def fit(name, sizes):
    ops = Operators(name)
    a = (ops.prefill(2048, 6144) - ops.prefill(2048)) / (2048 * 6144)
    b = (ops.decode(128, 8192) - ops.decode(128, 1024)) / (128 * (8192 - 1024))

    def linear(m):
        if m <= 256:  # such an iteration is one of decodes
            return ops.decode(m, 8) - b * m * 9
        prompts = max(1, m // 8192)
        each = m // prompts
        return ops.prefill(each, prompts=prompts) - prompts * a * each * (each + 1) / 2

    return {"G": [round(linear(m), 2) for m in sizes], "a": float(f"{a:.3g}"), "b": float(f"{b:.3g}")}


def times(profile, sizes):
    """Iterations as they occur, in ms: prompts of up to 8192 tokens and decodes among them."""
    at = dict(zip(sizes, profile["G"], strict=True))
    for m in sizes:
        yield f"G({m})", at[m]
    for m, context in ((2048, 0), (2048, 6144), (8192, 0)):
        yield f"prefill {m} after {context}", at[m] + profile["a"] * m * (context + (m + 1) / 2)
    for n, context in ((16, 8192), (64, 8192), (128, 1024)):
        yield f"decode {n} at {context}", at[n] + profile["b"] * n * context


def main():
    table = json.loads(TABLE.read_text())
    if len(sys.argv) > 1:
        print(json.dumps(fit(sys.argv[1], table["K"])))
        return
    worst = 0
    for name, have in table["profiles"].items():
        if not NAME.fullmatch(name):
            continue
        got = dict(times(fit(name, table["K"]), table["K"]))
        off = {what: ms / got[what] - 1 for what, ms in times(have, table["K"])}
        what = max(off, key=lambda w: abs(off[w]))
        worst = max(worst, abs(off[what]))
        print(f"{name:14} a {have['a']:.3g} b {have['b']:.3g}; furthest from the tables: {what} by {off[what]:+.1%}")
    if worst > TOLERANCE:
        sys.exit(f"a profile is {worst:.1%} off the operator tables, want {TOLERANCE:.0%} or less")


if __name__ == "__main__":
    main()

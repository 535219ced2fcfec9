"""Runs the reference benchmark on the simulated engine and on aisimulate, and compares them.

Our rows come from TestReferenceRows, which also holds them against what is written down there.
Here those that compute like aisimulate are held against what it says now.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
MODEL = "meta-llama/Meta-Llama-3.1-70B"
BOUNDS = {"seconds": 0.03, "mean_ttft_s": 0.03, "p99_tpot_ms": 0.10}


def ours(folder):
    """All rows of the engine, and whether each is within its own bounds."""
    out = folder / "rows.json"
    test = ["go", "test", "./internal/enginesim", "-count=1", "-run=TestReferenceRows", "-long", f"-rows={out}"]
    code = subprocess.run(test, cwd=ROOT, check=False).returncode
    if not out.exists():
        sys.exit("the engine's rows did not run")
    return json.loads(out.read_text()), code == 0


def deployment(row):
    """The row as aisimulate's engine section; what is not said is its default for vLLM."""

    def workers(count):
        tensor = int(row["profile"].rsplit("tp", 1)[1])
        return {"parallelism": {"tensor": tensor, "replicas": count}, "scheduler": {"max_batched_tokens": row["budget"]}}

    engine = {"model": MODEL, "hardware": "h100_sxm", "backend": "vllm"}
    if row["split"]:
        return engine | {"mode": "disaggregated", "workers": {"prefill": workers(row["engines"]), "decode": workers(1)}}
    return engine | {"mode": "aggregated", "workers": {"aggregated": workers(row["engines"])}}


def theirs(row, folder):
    """What aisimulate says: the figures, and the KV capacity in tokens that it computes with."""
    config = {
        "traffic": {
            "source": {"type": "synthetic", "input_tokens": 8192, "output_tokens": 200},
            "load": {"type": "concurrency", "concurrency": 2000},
            "stop": {"requests": 2000},
        },
        "engine": deployment(row),
    }
    path = folder / "prediction.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    command = [sys.executable, "-m", "aisimulate", "predict", "--config", path, "--output-dir", folder / "prediction"]
    ran = subprocess.run([*command, "--overwrite", "--detail", "memory"], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        sys.exit(f"aisimulate failed on {row['name']}:\n{ran.stderr or ran.stdout}")
    got = json.loads((folder / "prediction/prediction.json").read_text())
    figures = {
        "seconds": got["duration_ms"] / 1e3,
        "mean_ttft_s": got["mean_ttft_ms"] / 1e3,
        "mean_tpot_ms": got["mean_tpot_ms"],
        "p99_tpot_ms": got["p99_tpot_ms"],
    }
    return figures, {m["total_kv_size_tokens"] for m in got["memory_diagnostics"].values()}


def line(name, figures):
    cells = (figures["seconds"], figures["mean_ttft_s"], figures["mean_tpot_ms"], figures["p99_tpot_ms"])
    print(f"{name:48}" + "".join(f"{cell:9.1f}" if cell else f"{'-':>9}" for cell in cells))


def main():
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        rows, within = ours(folder)
        if not within:
            faults.append("a row of the engine is not what reference_test.go wants")
        print(f"{'':48}{'total s':>9}{'TTFT s':>9}{'TPOT ms':>9}{'P99 ms':>9}")
        for row in rows:
            line(row["name"], row["got"])
            if not row["operators"]:
                line("  wanted", row["want"])
                continue
            figures, capacity = theirs(row, folder)
            line("  aisimulate now", figures)
            if capacity != {row["kv_tokens"]}:
                faults.append(f"{row['name']}: the KV cache has {row['kv_tokens']} tokens, in aisimulate {capacity}")
            for figure, bound in BOUNDS.items():
                off = row["got"][figure] / figures[figure] - 1
                if abs(off) > bound:
                    faults.append(f"{row['name']}: {figure} is off by {off:+.1%}, want {bound:.0%} or less")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()

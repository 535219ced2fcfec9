#!/usr/bin/env bash
# Holds the answers of a running `baton up` to its own description with schemathesis. Needs Go and
# Python 3.10 or newer, and on the first run the Python package index.
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=../lib
. "$here/../lib"

provide 'python3 -c "import sys, venv, ensurepip; assert sys.version_info >= (3, 10)"' python3 python3-venv
venv="$(environment schemathesis install_python "$here/requirements.txt")"

build
# Short answers at many times their speed: the answers' form is tested, not the engines.
start baton meta-llama/Meta-Llama-3.1-70B-Instruct --up.prefill=2 --up.decode=2 --sim.profile=fast --sim.time_scale=100 --sim.max_model_len=512 --api.body_timeout=2s
await baton /readyz

cd "$work" # where schemathesis leaves what it learns
export SCHEMATHESIS_HOOKS=hooks PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1
timeout 300 "$venv/bin/python3" -m schemathesis.cli --config-file "$here/schemathesis.toml" run "$url/openapi.json"

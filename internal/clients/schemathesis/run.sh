#!/usr/bin/env bash
# Holds the answers of a running `baton up` to its own description with schemathesis. Needs Go,
# curl and Python 3.10 or newer, and on the first run the Python package index.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../../.."

version="$(sed -n 's/^schemathesis==//p' "$here/requirements.txt")"
venv="${XDG_CACHE_HOME:-$HOME/.cache}/baton/clients/schemathesis-$version"
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/requirements.txt" # last: a venv without it is not complete
fi

work="$(mktemp -d)"
baton=""
stop() {
  if [[ -n "$baton" ]]; then
    kill "$baton" 2>/dev/null || true
    wait "$baton" || true
  fi
  rm -rf "$work"
}
trap stop EXIT

go build -o "$work/baton" ./cmd/baton
touch "$work/screen" # so that it is there before baton is
# Short answers at many times their speed: the answers' form is tested, not the engines.
"$work/baton" up --listen 127.0.0.1:0 --up.prefill=2 --up.decode=2 --sim.profile=fast --sim.time_scale=100 \
  --sim.max_model_len=512 --api.body_timeout=2s >"$work/screen" 2>"$work/log" &
baton=$!

url=""
for _ in {1..300}; do # 30 s
  kill -0 "$baton" 2>/dev/null || break
  url="$(sed -n 's|.*OpenAI endpoint  *\(http://.*\)/v1$|\1|p' "$work/screen")"
  if [[ -n "$url" ]] && curl --silent --fail --max-time 2 --output /dev/null "$url/readyz"; then
    break
  fi
  url=""
  sleep 0.1
done
if [[ -z "$url" ]]; then
  echo "baton up is not ready" >&2
  tail -n 50 "$work/log" >&2
  exit 1
fi

cd "$work" # where schemathesis leaves what it learns
export SCHEMATHESIS_HOOKS=hooks PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1
if ! timeout 300 "$venv/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json"; then
  echo "the last lines of baton's log:" >&2
  tail -n 20 "$work/log" >&2
  exit 1
fi

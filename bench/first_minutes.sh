#!/usr/bin/env bash
# How long is it from nothing to a sparse model of one's own images? A clone, an environment, a demo, a training, a report.
#   bench/first_minutes.sh FOLDER [MINUTES]      # class folders of images; how long the training may take (default: 2)
set -euo pipefail
photos=$(realpath "$1") minutes=${2:-2}
source=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

timed() {
  local begin=$EPOCHREALTIME
  "$@" >"$place/out.txt" 2>"$place/err.txt" || { cat "$place/err.txt"; exit 1; }
  printf '%7.1f s  %s\n' "$(echo "$EPOCHREALTIME - $begin" | bc)" "${*//$place\//}"
}

timed git clone -q "$source" mezzotint
cd mezzotint
timed make demo
source .venv/bin/activate
timed mezzotint train "$photos" --minutes "$minutes" -o runs/own
timed mezzotint report runs/own
image=$(find "$photos" \( -iname '*.jpg' -o -iname '*.png' \) -print -quit)
timed mezzotint predict runs/own "$image"
timed mezzotint export runs/own -o own.onnx
timed mezzotint predict own.onnx "$image"

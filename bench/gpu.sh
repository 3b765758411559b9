#!/bin/sh
# Everything that a machine with an NVIDIA GPU has to show, in one command: operations and networks on the
# GPU against the same numbers as on the processor, training steps beside PyTorch's, memory over 2,000 steps,
# whole runs, and a run that goes from the processor to the GPU and back.
#
#     sh bench/gpu.sh results
#     SDL_TORCH=venv PYTHON=venv/bin/python PEER=peer_bench.py sh bench/gpu.sh results
#     sh bench/gpu.sh results part1; sh bench/gpu.sh results part2      # each in BUDGET seconds
#     BUDGET=1500 sh bench/gpu.sh results part3                         # beside compiled peers
#     sh bench/gpu.sh results runs                                      # whole runs alone
#     SDL_DEVICE=cpu DRY=1 PATIENCE=4 sh bench/gpu.sh results           # tries the script on small networks
#
# SDL_TORCH is an environment with torch 2.10 or newer for CUDA, else what doctor finds. PEER is a script that makes
# the same step with diffusers and peft (bench/peers.ts says how it is called), else extra/peer_bench.py or
# ../shared/bench/peer_bench.py where one is there; DIFFUSERS the folder of diffusers' sources where PYTHON, else python3,
# does not find the package. Without a peer only our side is timed. What fails or takes too long is
# noted, and the rest goes on; what there is no time left for is named. All output is in results/log-*.txt, the
# figures are in results/*.json, and the end of the output is a table of them. PATIENCE=2 doubles the time that
# each step may take, LIMIT is the most seconds of one side of a comparison (900).
#
# It runs from the sources (npm install) or from a bundle of scripts/pack-bundle.sh, which needs no npm.

out=${1:-results}
part=${2:-all}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.." || exit 1
log="$out/log-$part.txt"
: >"$log"

for script in extra/peer_bench.py ../shared/bench/peer_bench.py; do
  if [ -z "${PEER:-}" ] && [ -f "$script" ]; then PEER=$PWD/$script; fi
done
export PEER

device=${SDL_DEVICE:-cuda}
if [ "$part" = all ]; then budget=${BUDGET:-6000}; else budget=${BUDGET:-400}; fi
end=$(($(date +%s) + budget))

node=node
[ -x ./node ] && node=./node

# A program of the sources, or of the bundle: js <path without ending> <arguments>.
js() {
  file=$1
  shift
  if [ -f "build/$file.js" ]; then "$node" "build/$file.js" "$@"; else "$node" --import tsx "$file.ts" "$@"; fi
}

say() { echo "$*" | tee -a "$log"; }

# step <title> <most seconds> <command>: notes how it ended; never ends the script.
step() {
  title=$1
  limit=$(($2 * ${PATIENCE:-1}))
  shift 2
  left=$((end - $(date +%s)))
  if [ "$left" -lt 20 ]; then
    say "-- $title: no time left"
    return
  fi
  [ "$limit" -gt "$left" ] && limit=$left
  began=$(date +%s)
  echo "== $title: $*" >>"$log"
  ("$@") >>"$log" 2>&1 &
  child=$!
  (sleep "$limit" && echo "   longer than $limit s" >>"$log" && kill_tree "$child") >/dev/null 2>&1 &
  watch=$!
  if wait "$child"; then verdict=ok; else verdict=FAILED; fi
  kill_tree "$watch" 2>/dev/null
  wait "$watch" 2>/dev/null
  [ "$verdict" = FAILED ] && tail -n 8 "$log" | cut -c 1-300
  say "== $title: $verdict, $(($(date +%s) - began)) s"
}

# Ends a process and all that it has started.
kill_tree() {
  for below in $(ps -o pid= --ppid "$1"); do kill_tree "$below"; done
  kill "$1"
}

# ONNX Runtime is not in the bundle, and not needed here.
doctor() {
  js src/cli/main doctor || [ -d build ]
}

if [ -n "${DRY:-}" ]; then
  batch_1=sd15-tiny-128-b1 batch_8=sd15-tiny-128-b2 sdxl_1=sdxl-tiny-128-b1 sdxl_4=sdxl-tiny-128-b2
  sd21=sd21-tiny-128-b1 counted='--steps 4 --warmup 1' long_steps=60 every=10 precision=f32 run_steps=4
else
  batch_1=sd15-512-b1 batch_8=sd15-512-b8 sdxl_1=sdxl-1024-b1 sdxl_4=sdxl-1024-b4
  sd21=sd21-768-b1 counted='--steps 44 --warmup 6' long_steps=2000 every=50 precision=bf16 run_steps=40
fi
ours="--executor torch --device $device --precision $precision ${BENCH_OPTIONS:-}"

# f32 means f32 while numbers are compared: no TF32.
exact() {
  NVIDIA_TF32_OVERRIDE=0
  export NVIDIA_TF32_OVERRIDE
  js "$@"
}

# peers <file> <cases> <compile> <more options>: ours and the peer's, in turn, from the same start.
peers() {
  if [ -n "${PEER:-}" ]; then
    # shellcheck disable=SC2086
    js bench/peers $ours $counted --case "$2" --compile "$3" ${4:-} --limit "${LIMIT:-900}" --json "$out/peers-$1.json" \
      ${DIFFUSERS:+--diffusers "$DIFFUSERS"}
  else
    # shellcheck disable=SC2086
    js bench/step $ours $counted --case "$2" --json "$out/step-$1.json"
  fi
}

# A whole run of sdl-train on the embedded base: train <where> <folder> <steps> <more options>.
train() {
  where=$1 folder=$2 steps=$3
  shift 3
  js src/cli/main --config configs/character.yaml --set device.executor=torch --set "device.torchDevice=$where" \
    --set train.lrSchedule=constant --set train.warmupSteps=0 --set train.batchSize=2 --set "train.steps=$steps" \
    --set "output.dir=$out/$folder" --set "data.cacheDir=$out/$folder/cache" "$@"
}

# From the processor to the GPU and back, beside the same steps on the processor alone.
resume() {
  rm -rf "$out/moved" "$out/stayed"
  more='--set device.precision=f32 --set output.precision=f32 --set preview.enabled=false'
  # shellcheck disable=SC2086
  train cpu moved 4 $more && train "$device" moved 8 $more && train cpu moved 12 $more &&
    train cpu stayed 12 $more &&
    js bench/compare-adapters "$out/moved/zibbo.safetensors" "$out/stayed/zibbo.safetensors" 5e-2
}

# Captions and pictures encoded, text encoder trained, previews drawn: all on the device.
whole_run() {
  rm -rf "$out/run"
  train "$device" run "$run_steps" --set "device.precision=$precision" \
    --set preview.everySteps="$((run_steps / 2))" --set preview.steps=8
}

# The test of captured graphs, which needs the test runner: from the sources alone.
captured() {
  [ -d node_modules/vitest ] || return 0
  SDL_TORCH_DEVICE=$device npx vitest run --project gpu
}

# Our own kernels beside libtorch's, in each float type.
own_kernels() {
  case $device in cuda*) ;; *) return 0 ;; esac
  for type in f32 bf16 f16; do
    js bench/kernels --device "$device" --precision $type --json "$out/kernels-$type.json" || return 1
  done
}

attention_kernels() {
  case $device in cuda*) ;; *) return 0 ;; esac
  js bench/attention --device "$device" --precision bf16 --json "$out/attention.json"
}

# What single choices are worth: without captured graphs, without a second stream in them, without kernels of
# our own, row-major images, waiting for each step.
choices() {
  for choice in no-cuda-graphs no-side-stream no-fused-kernels row-major in-step; do
    # shellcheck disable=SC2086
    js bench/step $ours $counted --case "$batch_1" --no-phases --no-floor --$choice \
      --json "$out/step-$batch_1-$choice.json"
  done
}

long_run() {
  # shellcheck disable=SC2086
  js bench/step $ours --case "$batch_1" --steps "$long_steps" --warmup 6 --no-phases --no-floor \
    --memory "$out/memory.json" --every "$every" --json "$out/step-long.json"
  js bench/memory-picture "$out/memory.json" "$out/memory.png"
}

phases() {
  for name in "$batch_1" "$batch_8" "$sdxl_1" "$sdxl_4" "$sd21"; do
    # shellcheck disable=SC2086
    js bench/step $ours $counted --case "$name" --json "$out/step-$name.json"
  done
}

first() {
  step doctor 60 doctor
  step operations 90 exact bench/check-ops --executor torch --device "$device" --tolerance 1e-4
  step 'parity f32' 90 exact scripts/parity/main test/fixtures/golden --executor torch
  step 'own kernels' 60 own_kernels
  step 'attention kernels' 60 attention_kernels
  for name in "$batch_1" "$batch_8" "$sdxl_1" "$sdxl_4"; do
    step "peers $name" 150 peers "$name" "$name" none
  done
  step 'a whole run' 120 whole_run
  step 'captured graphs' 60 captured
  step 'parity bf16' 60 js scripts/parity/main test/fixtures/golden --executor torch-bf16
  step 'parity f16' 60 js scripts/parity/main test/fixtures/golden --executor torch-f16
}

runs() {
  step 'a whole run' 120 whole_run
  step 'to the GPU and back' 120 resume
}

second() {
  step '2,000 steps' 150 long_run
  step 'to the GPU and back' 120 resume
  step 'single choices' 120 choices
  step 'phases of each case' 200 phases
}

# To compile SDXL takes the peer more than five minutes on 16 cores: all of them at once, where there is room for
# their steps and ours (MiB).
third() {
  ahead=
  case $device in cuda*) ahead=--ahead ;; esac
  memory=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -n 1)
  if [ "${memory:-0}" -gt 110000 ]; then
    step 'compiled peers' 1500 peers compiled "$batch_1,$batch_8,$sdxl_1,$sdxl_4" default $ahead
  else
    step 'compiled peers' 1500 peers compiled "$batch_1,$batch_8,$sdxl_1" default $ahead
    step "compiled peer of $sdxl_4" 1500 peers compiled-large "$sdxl_4" default
  fi
}

nvidia-smi >>"$log" 2>&1 || say 'nvidia-smi is missing: is this a GPU machine?'
case $part in
part1) first ;;
part2) second ;;
part3) third ;;
runs) runs ;;
*) first && second && third ;;
esac
js bench/gpu-table "$out" | tee -a "$log"

#!/bin/sh
# Everything that a machine with an NVIDIA GPU has to show, in one command: the operations and networks
# on the GPU against the same numbers as on the processor, then one training step beside PyTorch's.
#
#     SDL_TORCH=venv PYTHON=venv/bin/python PEER=peer_bench.py sh bench/gpu.sh results
#
# SDL_TORCH is an environment with torch 2.10 or newer for CUDA. PEER is a script that makes the same
# step with diffusers and peft, and takes the options below; without it only our side is timed. Each case
# is timed twice, in turn with the peer's. What fails is noted, and the rest goes on. All output is in
# results/log.txt, the figures are in results/*.json, and bench/gpu-table.ts prints them as a table.

out=${1:-results}
mkdir -p "$out"
log="$out/log.txt"
: >"$log"

# f32 means f32: no TF32 while numbers are compared.
exact='env NVIDIA_TF32_OVERRIDE=0 SDL_TORCH_DEVICE=cuda'

step() {
  name=$1
  shift
  echo "== $name: $*" | tee -a "$log"
  if "$@" >>"$log" 2>&1; then echo "   ok" | tee -a "$log"; else echo "   FAILED" | tee -a "$log"; fi
}

# The largest use of the first GPU's memory, in MiB, while a command runs: into <file>.mib.
timed() {
  file=$1
  shift
  (while :; do
    nvidia-smi -i 0 --query-gpu=memory.used --format=csv,noheader,nounits
    sleep 0.2
  done) >"$file.samples" 2>/dev/null &
  watcher=$!
  step "$(basename "$file")" "$@"
  kill "$watcher"
  sort -n "$file.samples" | tail -n 1 >"$file.mib"
  rm -f "$file.samples"
}

nvidia-smi >>"$log" 2>&1 || echo "nvidia-smi is missing: is this a GPU machine?" | tee -a "$log"
step doctor npx tsx src/cli/main.ts doctor
# The first use of a GPU takes longer than a test may.
step operations $exact npx vitest run --project unit --testTimeout 300000 test/runtime
step 'captured graphs' env SDL_TORCH_DEVICE=cuda npx vitest run --project gpu
step 'parity f32' $exact npx tsx scripts/parity/main.ts test/fixtures/golden --executor torch
step 'parity bf16' npx tsx scripts/parity/main.ts test/fixtures/golden --executor torch-bf16
step 'parity f16' npx tsx scripts/parity/main.ts test/fixtures/golden --executor torch-f16

ours='npx tsx bench/step.ts --executor torch --device cuda --precision bf16 --steps 50 --warmup 6'
for batch in 1 8; do
  size="--resolution 512 --batch $batch --rank 16"
  for round in 1 2; do
    key="$out/sd15-512-b$batch-round$round"
    timed "$key-ours" $ours $size --json "$key-ours.json"
    # What single choices are worth: without captured graphs, row-major images, waiting for each step.
    timed "$key-calls" $ours $size --no-cuda-graphs --json "$key-calls.json"
    timed "$key-row-major" $ours $size --row-major --json "$key-row-major.json"
    timed "$key-in-step" $ours $size --in-step --json "$key-in-step.json"
    if [ -n "${PEER:-}" ]; then
      theirs="${PYTHON:-python3} $PEER --device cuda --dtype bf16 --steps 50 --warmup 6"
      timed "$key-eager" $theirs $size --json "$key-eager.json"
      timed "$key-compiled" $theirs $size --compile default --json "$key-compiled.json"
    fi
  done
done
# Growth of memory would show in 2,000 steps.
timed "$out/sd15-512-b1-long" $ours --resolution 512 --batch 1 --rank 16 --steps 2000 \
  --json "$out/sd15-512-b1-long.json"

npx tsx bench/gpu-table.ts "$out" | tee -a "$log"
echo 'SDXL is not timed: bench/step.ts makes SD 1.5 alone.' | tee -a "$log"

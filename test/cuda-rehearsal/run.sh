#!/bin/sh
# What runs on an NVIDIA GPU, on a machine without one: calls and control flow, never numbers.
#
#     SDL_TORCH=venv sh test/cuda-rehearsal/run.sh folder
#
# SDL_TORCH is an environment with libtorch for CUDA, CUDA_INCLUDE the folder of cuda_runtime_api.h where that is not
# in it. The folder gets links to libtorch's libraries beside the stand-in for NVIDIA's, and is an SDL_TORCH itself.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
torch=$(dirname "$(find "$SDL_TORCH" -name libtorch_cuda.so | head -n 1)")
include=${CUDA_INCLUDE:-$(dirname "$(find "$torch/../.." /usr/local/cuda*/ -name cuda_runtime_api.h | head -n 1)")}
mkdir -p "$1/torch/lib"
out=$(cd "$1" && pwd)
lib=$out/torch/lib
ln -sf "$torch"/*.so* "$lib"
cp "$torch/../version.py" "$out/torch"
# NVIDIA's compiler needs no GPU.
find "$torch/../../nvidia" -name 'libnvrtc*' -exec ln -sf {} "$lib" \; 2>/dev/null || true

for part in fake-cuda fake-math; do
  g++ -std=c++17 -O1 -fPIC -Wall -I "$include" -c "$here/$part.cpp" -o "$out/$part.o"
done
# Functions that libtorch links to and the stand-in does not have.
nm -D --undefined-only "$torch"/*.so | sed -n 's/^ *U \([A-Za-z_0-9]*\).*/\1/p' |
  grep -E '^(__)?(cu|nccl|nvshmem)' | sort -u >"$out/wanted"
nm --defined-only "$out"/fake-*.o | cut -d ' ' -f 3 | sort >"$out/written"
{
  echo 'long fakeStub(const char *);'
  comm -23 "$out/wanted" "$out/written" | sed 's/.*/long &() { return fakeStub("&"); }/'
} >"$out/stubs.c"
gcc -w -fno-builtin -fPIC -c "$out/stubs.c" -o "$out/stubs.o"
g++ -shared -Wl,-soname,libcuda.so.1 "$out"/fake-*.o "$out/stubs.o" -ldl -o "$lib/libcuda.so.1"
# One file under all names.
readelf -d "$torch"/*.so | sed -n 's/.*(NEEDED).*\[\(lib\(cu\|nv\|nccl\).*\)\]/\1/p' | sort -u |
  while read -r name; do [ -e "$lib/$name" ] || ln -s libcuda.so.1 "$lib/$name"; done

cd "$here/../.."
export SDL_TORCH="$out" LD_LIBRARY_PATH="$lib" SDL_TORCH_DEVICE=cuda
train="--config configs/character.yaml --set device.executor=torch --set device.torchDevice=cuda --set train.steps=8
  --set train.warmupSteps=0 --set train.batchSize=2 --set preview.steps=4 --set output.dir=$out/run --restart"

# check <title> <wanted> <command>: the output has what is wanted, no complaint, and nothing of $unwanted.
unwanted='^$.'
check() {
  title=$1 wanted=$2
  shift 2
  "$@" >"$out/log.txt" 2>&1 || true
  if grep -qE "$wanted" "$out/log.txt" && ! grep -qE "$unwanted" "$out/log.txt" && ! grep -v '^note' "$out/log.txt" | grep -qE '^fake-cuda:|internal: |terminate'; then
    echo "ok   $title"
  else
    echo "FAIL $title"
    tail -n 20 "$out/log.txt" | cut -c 1-200
  fi
}
program="node --import tsx src/cli/main.ts"
check 'doctor' 'torch cuda:0 .*GFLOP' $program doctor
check 'a GPU that stands idle' 'warning: .* is not used: device.libtorch: ' $program check --config configs/character.yaml --set device.libtorch=none
check 'own kernels' '^ok   pointwise' node --import tsx bench/kernels.ts
check 'attention in chunks' '^ok   .* cudnn in 16' node --import tsx bench/attention.ts
check 'captured graphs' '2 passed' npx vitest run --project gpu
for type in f32 bf16 f16; do check "a run in $type" '^LoRA: ' $program $train --set device.precision=$type; done
check 'buckets, and previews between steps' '^LoRA: ' $program $train --set train.steps=40 --set preview.everySteps=6
unwanted='call by call|at once'
check 'room for one bucket after the other' '^LoRA: ' env FAKE_CUDA_MEMORY=1.2e8 $program $train --set train.steps=40
unwanted='^$.'
check 'little memory' 'call by call' env FAKE_CUDA_MEMORY=1e8 $program $train
check 'parts of a batch' 'with 1 at once' env FAKE_CUDA_MEMORY=1e8 $program $train
check 'too little memory' 'device has no memory' env FAKE_CUDA_MEMORY=7e7 $program $train
check 'no memory while a second stream is at work' '^LoRA: ' env FAKE_CUDA_FAIL='side memory:1' $program $train
# The first captures are those of trials, which go on call by call without a word.
for what in begin:1 work:1 work:2 end:1 instantiate:1 instantiate:4 download:9; do
  check "$what" '^LoRA: ' env FAKE_CUDA_FAIL=$what $program $train
done
# A network's are said: odd numbers are rehearsals.
for what in begin:33 work:33 work:34 end:33 instantiate:33 instantiate:34 work:1+; do
  check "$what" 'call by call' env FAKE_CUDA_FAIL=$what $program $train
done

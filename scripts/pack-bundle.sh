#!/bin/sh
# Packs all that bench/gpu.sh needs for a machine without npm and without a network: the compiled program and
# benchmarks, Node.js itself, the few packages that they load (not ONNX Runtime: libtorch is the machine's own),
# the embedded base with its data set, and the golden numbers.
#
#     sh scripts/pack-bundle.sh bundle.tar.xz [more files or folders]
#
# BARE=1 leaves out what a checkout has anyway (models, data, golden numbers): unpack it over one, with
# tar xf bundle.tar.xz --strip-components=1. PIECES=13 also cuts the file into pieces of so many MiB, which
# `cat bundle.tar.xz.part-* >bundle.tar.xz` puts together.
#
# More files, such as a peer's script, come into the folder extra/ of the bundle. There:
#
#     tar xf bundle.tar.xz && cd sdl-train && PEER=extra/peer_bench.py sh bench/gpu.sh results

set -e
target=${1:?give the file to write, such as bundle.tar.xz}
shift
case $target in /*) ;; *) target=$PWD/$target ;; esac
extra=
for path in "$@"; do extra="$extra $(cd "$(dirname "$path")" && pwd)/$(basename "$path")"; done
cd "$(dirname "$0")/.."

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
bundle=$stage/sdl-train
mkdir -p "$bundle/bench" "$bundle/test/fixtures" "$bundle/extra" "$bundle/node_modules"

node node_modules/typescript/bin/tsc -p tsconfig.bench.json --outDir "$bundle/build"
cp package.json LICENSE "$bundle"
# The program looks for package.json beside its sources.
cp package.json "$bundle/build"
cp bench/gpu.sh "$bundle/bench"
cp bench/peer-same-start.py "$bundle/build/bench"
if [ -z "${BARE:-}" ]; then
  cp -r configs datasets "$bundle"
  mkdir -p "$bundle/models/Stable-diffusion"
  cp models/Stable-diffusion/* "$bundle/models/Stable-diffusion"
  cp -r test/fixtures/golden "$bundle/test/fixtures"
fi
for path in $extra; do cp -r "$path" "$bundle/extra"; done

cp "$(node -p process.execPath)" "$bundle/node"
strip "$bundle/node" 2>/dev/null || echo 'strip is missing: Node.js goes in as it is'

# Every package that the program needs, and what those need, but for ONNX Runtime. Packages inside others
# travel with them.
node -e '
const { existsSync, readFileSync } = require("node:fs");
const found = new Set();
const add = (name, from) => {
  if (name === "onnxruntime-node" || found.has(name)) return;
  const own = `${from}/node_modules/${name}`;
  const folder = existsSync(own) ? own : `node_modules/${name}`;
  if (!existsSync(folder)) return;
  if (folder !== own) found.add(name);
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  for (const next of Object.keys({ ...dependencies, ...optionalDependencies })) add(next, folder);
};
const { dependencies, optionalDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) add(name, "no-folder");
console.log([...found].join("\n"));
' | while read -r name; do
  mkdir -p "$bundle/node_modules/$(dirname "$name")"
  cp -r "node_modules/$name" "$bundle/node_modules/$name"
done
# What packages are built from, and their documentation, is not loaded.
rm -rf "$bundle/node_modules/koffi/vendor" "$bundle/node_modules/koffi/doc"
find "$bundle/node_modules" \( -name '*.map' -o -name '*.md' -o -name '*.d.ts' -o -name '*.d.cts' \
  -o -name '*.cc' -o -name '*.hh' -o -name '*.c' -o -name '*.h' -o -name '*.S' -o -name '*.asm' \) -delete

tar -C "$stage" -cf - sdl-train | xz --x86 --lzma2=preset=6 >"$target"
echo "$target: $(($(wc -c <"$target") / 1048576 + 1)) MiB, unpacked $(du -sm "$bundle" | cut -f 1) MiB"
if [ -n "${PIECES:-}" ]; then
  split -b "${PIECES}m" "$target" "$target.part-"
  ls "$target".part-*
fi

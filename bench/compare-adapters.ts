/**
 * @file Says how far the factors of two adapter files are apart; fails beyond a tolerance.
 *
 *     npx tsx bench/compare-adapters.ts one.safetensors other.safetensors 1e-3
 */

import { openSafetensors } from '../src/weights/safetensors-file.ts';

const [first, second, tolerance = '1e-3'] = process.argv.slice(2);
if (!first || !second) throw new Error('give two adapter files, and a tolerance');
const [a, b] = [await openSafetensors(first), await openSafetensors(second)];
const names = [...a.entries.keys()];
if (`${names}` !== `${[...b.entries.keys()]}`) throw new Error('the files hold other tensors');
let [difference, size] = [0, 0];
for (const name of names) {
  const [x, y] = [a.readF32Sync(name), b.readF32Sync(name)];
  for (const [i, value] of x.entries()) {
    difference += (value - y[i]!) ** 2;
    size += value ** 2;
  }
}
a.close();
b.close();
const relative = Math.sqrt(difference / size);
process.stdout.write(`${names.length} tensors, relative difference ${relative.toExponential(2)}\n`);
process.exitCode = relative <= Number(tolerance) ? 0 : 1;

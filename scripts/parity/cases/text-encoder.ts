/** @file The text encoder: every hidden state, the final norm, clip skip, the pooled state. */

import { clipTextModel, skipLayers } from '../../../src/models/clip-text-model.ts';
import { f32, type Tensor } from '../../../src/tensor/tensor.ts';
import { contextOf, scopeOf } from '../networks.ts';
import type { ParityCase } from '../parity-case.ts';
import { tolerances } from '../report.ts';

const bound = { relative: tolerances.output };

/** The state at the largest id, which is EOS: states [n, t, d] to [n, d]. */
function pooled(states: Tensor<'f32'>, ids: Tensor<'i32'>): Tensor<'f32'> {
  const [n, length, width] = states.shape as [number, number, number];
  const out = new Float32Array(n * width);
  for (let i = 0; i < n; i++) {
    const row = Array.from(ids.data.subarray(i * length, (i + 1) * length));
    const at = (i * length + row.indexOf(Math.max(...row))) * width;
    out.set(states.data.subarray(at, at + width), i * width);
  }
  return f32([n, width], out);
}

export const textCase: ParityCase = {
  name: 'text',
  marker: 'forward.safetensors',
  files: ['forward.safetensors'],
  async run({ family, engine, report, golden }) {
    const file = await golden('forward.safetensors');
    const ids = file.i32('te1.ids');
    const states = await engine.compute(
      (g) => {
        const input = g.input('ids', ids.shape, 'i32');
        const scope = scopeOf(g, family, 'text_encoder');
        const encoded = clipTextModel(scope, input, { heads: family.config.textHeads });
        return {
          ...Object.fromEntries(encoded.hidden.map((state, k) => [`te1.hidden_${k}`, state])),
          'te1.last': encoded.last,
          'te1.skip2_norm': skipLayers(scope, encoded, 2),
          context: contextOf(g, family, input),
        };
      },
      { ids },
    );
    for (const [name, value] of Object.entries(states)) {
      report.compare(name, value, file.f32(name), bound);
    }
    const last = pooled(states['te1.last'], ids);
    report.compare('te1.pooled', last, file.f32('te1.pooled'), bound);
  },
};

/** @file The text encoders: every hidden state, the final norm, clip skip, the pooled state, the context. */

import { clipTextModel, skipLayers } from '../../../src/models/clip-text-model.ts';
import { textOutputs } from '../../../src/models/networks.ts';
import { f32, type Tensor } from '../../../src/tensor/tensor.ts';
import { scopeOf, textOf, tokenFeeds } from '../networks.ts';
import type { CaseContext, ParityCase } from '../parity-case.ts';
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

/** One encoder by itself; `name` is `te1` or `te2`. */
async function checkEncoder(
  { family, engine, report, golden }: CaseContext,
  name: string,
  at: number,
): Promise<void> {
  const file = await golden('forward.safetensors');
  const { network, activation } = family.model.family.textEncoders[at]!;
  const ids = file.i32(`${name}.ids`);
  const states = await engine.compute(
    (g) => {
      const scope = scopeOf(g, family, network);
      const encoded = clipTextModel(scope, g.input('ids', ids.shape, 'i32'), {
        heads: family.model.heads?.text?.[at],
        activation,
      });
      return {
        ...Object.fromEntries(encoded.hidden.map((state, k) => [`${name}.hidden_${k}`, state])),
        [`${name}.last`]: encoded.last,
        // An encoder of one block has no other state.
        ...(encoded.hidden.length > 2 && {
          [`${name}.skip2_norm`]: skipLayers(scope, encoded, 2),
        }),
      };
    },
    { ids },
  );
  for (const [key, value] of Object.entries(states)) {
    report.compare(key, value, file.f32(key), bound);
  }
  const last = pooled(states[`${name}.last`]!, ids);
  report.compare(`${name}.pooled`, last, file.f32(`${name}.pooled`), bound);
}

export const textCase: ParityCase = {
  name: 'text',
  marker: 'forward.safetensors',
  files: ['forward.safetensors'],
  async run(context) {
    const { family, engine, report, golden } = context;
    const file = await golden('forward.safetensors');
    const encoders = family.model.family.textEncoders;
    for (const i of encoders.keys()) await checkEncoder(context, `te${i + 1}`, i);
    const feeds = tokenFeeds(family, file);
    const text = await engine.compute((g) => textOutputs(textOf(g, family, feeds.ids)), feeds);
    report.compare('context', text['context']!, file.f32('context'), bound);
    const projected = encoders.findIndex(
      ({ network }) => network === family.model.family.pooledFrom,
    );
    const name = `te${projected + 1}.text_embeds`;
    if (text['pooled']) report.compare(name, text['pooled'], file.f32(name), bound);
  },
};

/** @file The UNet: every size, context length and inner module that the folder has. */

import type { Node } from '../../../src/graph/ops.ts';
import { predict } from '../../../src/models/networks.ts';
import { conditionFeeds, fedTextOf, textInputs } from '../networks.ts';
import type { CaseContext, ParityCase } from '../parity-case.ts';
import { tolerances } from '../report.ts';

const bound = { relative: tolerances.output };

async function runOne({ family, engine, report, golden }: CaseContext, path: string) {
  const file = await golden('forward.safetensors');
  const latents = file.f32(`${path}.latents`);
  const text = fedTextOf(file, `${path}.`);
  const timesteps = file.values(`${path}.timesteps`);
  const conditions = conditionFeeds(family, timesteps, file, `${path}.time_ids`);
  const outputs = await engine.compute(
    (g) => {
      const inner: Record<string, Node> = {};
      const tap = (name: string, value: Node) => {
        if (file.has(`${path}.mid.${name}`)) inner[`${path}.mid.${name}`] = value;
      };
      const input = g.input('latents', latents.shape);
      const out = predict(g, family.model, input, textInputs(g, text), { tap });
      return { ...inner, [`${path}.out`]: out };
    },
    { latents, ...text, ...conditions },
  );
  for (const [key, name] of [
    ['timeProj', 'time_proj'],
    ['frame', 'add_time_proj'],
  ] as const) {
    const projection = `${path}.mid.${name}`;
    if (!file.has(projection)) continue;
    const expected = file.f32(projection);
    report.compare(projection, { ...conditions[key]!, shape: expected.shape }, expected, bound);
  }
  for (const [name, value] of Object.entries(outputs)) {
    report.compare(name, value, file.f32(name), bound);
  }
}

export const unetCase: ParityCase = {
  name: 'unet',
  marker: 'forward.safetensors',
  files: ['forward.safetensors'],
  async run(context) {
    const file = await context.golden('forward.safetensors');
    for (const name of file.between('unet.', '.latents')) await runOne(context, `unet.${name}`);
  },
};

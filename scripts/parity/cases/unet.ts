/** @file The UNet: every size, context length and inner module that the folder has. */

import type { Node } from '../../../src/graph/ops.ts';
import { predictionOf, timeProjection } from '../networks.ts';
import type { CaseContext, ParityCase } from '../parity-case.ts';
import { tolerances } from '../report.ts';

const bound = { relative: tolerances.output };

async function runOne({ family, engine, report, golden }: CaseContext, path: string) {
  const file = await golden('forward.safetensors');
  const latents = file.f32(`${path}.latents`);
  const context = file.f32(`${path}.context`);
  const time = timeProjection(family, file.values(`${path}.timesteps`));
  const outputs = await engine.compute(
    (g) => {
      const inner: Record<string, Node> = {};
      const out = predictionOf(
        g,
        family,
        g.input('latents', latents.shape),
        g.input('context', context.shape),
        {
          tap: (name, value) => {
            if (file.has(`${path}.mid.${name}`)) inner[`${path}.mid.${name}`] = value;
          },
        },
      );
      return { ...inner, [`${path}.out`]: out };
    },
    { latents, context, ...time },
  );
  const projection = `${path}.mid.time_proj`;
  if (file.has(projection)) {
    report.compare(projection, time.timeProj, file.f32(projection), bound);
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

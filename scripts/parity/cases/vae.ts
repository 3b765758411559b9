/** @file The autoencoder: encoding, drawing latents, decoding. */

import { vaeDecoder, vaeEncoder } from '../../../src/models/vae.ts';
import { sampleLatents } from '../../../src/train/sample-latents.ts';
import { scopeOf } from '../networks.ts';
import type { ParityCase } from '../parity-case.ts';
import { tolerances } from '../report.ts';

const bound = { relative: tolerances.output };

export const vaeCase: ParityCase = {
  name: 'vae',
  marker: 'forward.safetensors',
  files: ['forward.safetensors'],
  async run({ family, engine, report, golden }) {
    const file = await golden('forward.safetensors');
    for (const name of file.between('vae.', '.image')) {
      const path = `vae.${name}`;
      const image = file.f32(`${path}.image`);
      const encoded = await engine.compute(
        (g) => ({ moments: vaeEncoder(scopeOf(g, family, 'vae'), g.input('image', image.shape)) }),
        { image },
        { wideRange: true },
      );
      const { moments } = encoded;
      report.compare(`${path}.moments`, moments, file.f32(`${path}.moments`), bound);
      const noise = file.f32(`${path}.eps`).data;
      const latents = sampleLatents(moments, noise, family.config.latentScale);
      report.compare(`${path}.latent_sample`, latents, file.f32(`${path}.latent_sample`), bound);
      const z = file.f32(`${path}.decode_in`);
      const decoded = await engine.compute(
        (g) => ({ image: vaeDecoder(scopeOf(g, family, 'vae'), g.input('z', z.shape)) }),
        { z },
        { wideRange: true },
      );
      report.compare(`${path}.decode_out`, decoded.image, file.f32(`${path}.decode_out`), bound);
    }
  },
};

/** @file The size of the pictures where a configuration leaves it to the base. */

import { expect, test } from 'vitest';
import { families } from '../../src/models/families.ts';
import type { FamilyId } from '../../src/models/model-family.ts';
import type { Base } from '../../src/train/open-base.ts';
import { settleBase } from '../../src/train/settle-base.ts';
import { load, minimal } from '../config/fixture.ts';

/** A base of published sizes, or of someone's own, and the prediction that its file states. */
function baseOf(family: FamilyId, channels = 320, resolution: number | null = null): Base {
  const prediction = { value: 'v_prediction', from: 'a test' };
  const hints = { prediction, zeroTerminalSnr: null, clipSkip: null, resolution };
  const sizes = { unet: { channels: [channels] }, text: { layers: 23 } };
  return { checkpoint: { family: families[family], hints, sizes } } as unknown as Base;
}

async function settle(base: Base, ...overrides: string[]) {
  const told: Record<string, Record<string, unknown>> = {};
  const never = () => expect.fail('nothing has to be computed');
  const options = {
    config: load(minimal, ...overrides).config,
    log: (event: string, fields: Record<string, unknown>) => {
      told[event] = fields;
    },
    createExecutor: never,
    memoryModel: never,
    onProgress: never,
    stop: never,
    restart: false,
  };
  const { config } = await settleBase(options, base);
  return { config, trainedAt: told['base']!['trainedAt'], notice: told['notice']?.['notice'] };
}

test.each([
  ['sd1', 512],
  ['sd2', 768],
  ['sdxl', 1024],
] as const)('%s trains at %d unless told', async (family, side) => {
  const { config, trainedAt, notice } = await settle(baseOf(family));
  expect(config.data.resolution).toEqual([side, side]);
  expect(config.data.buckets).toMatchObject({ minSide: side / 2, maxSide: 2 * side });
  expect(config.preview).toMatchObject({ width: side, height: side });
  expect([trainedAt, notice]).toEqual([`${side}×${side}`, undefined]);
});

test('a smaller base keeps its own, and one that tells nothing is trained at 512, which is said', async () => {
  const own = await settle(baseOf('sd1', 32, 128));
  expect([own.trainedAt, own.notice]).toEqual(['128×128', undefined]);
  const unknown = await settle(baseOf('sd1', 32));
  expect(unknown.trainedAt).toBe('512×512');
  expect(unknown.notice).toContain('nothing tells at which size the base was made');
  expect((await settle(baseOf('sd1', 32), 'data.resolution=256')).notice).toBeUndefined();
});

test('what is stated stays, with a note where it is far below the base', async () => {
  const { config, notice } = await settle(baseOf('sdxl'), 'data.resolution=512');
  expect(config.data.resolution).toEqual([512, 512]);
  expect(notice).toContain('the base was made at 1024×1024, and data.resolution is 512×512');
});

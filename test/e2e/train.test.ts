/** @file The command, from pictures and captions to an adapter; interrupted and gone on with. */

import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { targetModules } from '../../src/lora/target-modules.ts';
import { openSd1Checkpoint } from '../../src/models/sd1/checkpoint.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { writeTinyCheckpoint } from '../cli/tiny-run.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

const root = resolve(import.meta.dirname, '../..');
const steps = 8;
let folder: string;
let base: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-e2e-'));
  base = join(folder, 'base.safetensors');
  await writeTinyCheckpoint(base);
  const pictures = readdirSync(join(root, 'datasets/character')).filter((file) =>
    /0[1-4]\.(png|txt)$/.test(file),
  );
  expect(pictures).toHaveLength(8);
  for (const file of pictures)
    copyFileSync(join(root, 'datasets/character', file), join(folder, file));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a configuration for an output folder of its own. */
function configFor(name: string, changes = ''): string {
  const path = join(folder, `${name}.yaml`);
  const text = `
base: ${base}
output: { dir: ${join(folder, name)}, name: pet, saveStateEverySeconds: 0 }
lora: { rank: 2 }
data:
  folders: [{ path: ${folder}, repeats: 2 }]
  triggerWord: zibbo
  resolution: 128
  captionDropout: 0.2
  flip: true
  buckets: { step: 32, minSide: 64, maxSide: 192 }
train: { steps: ${steps}, batchSize: 2, gradientAccumulationSteps: 2, learningRate: 1e-3, lrSchedule: cosine, noiseOffset: 0.05, minSnrGamma: 5 }
${changes}
`;
  writeFileSync(path, text);
  return path;
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Runs the command; `onOutput` may send it a signal. */
function sdlTrain(
  args: readonly string[],
  onOutput: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Ended> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', join(root, 'src/cli/main.ts'), ...args],
    { cwd: root },
  );
  let output = '';
  const read = (chunk: Buffer) => {
    output += chunk.toString();
    onOutput(output, (signal) => child.kill(signal));
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  return new Promise((done) => child.on('close', (code) => done({ code, output })));
}

const bytesOf = (name: string) => readFileSync(join(folder, name, 'pet.safetensors'));

/** Steps that are logged as done. */
function loggedSteps(name: string): number[] {
  const log = readFileSync(join(folder, name, '.sdl-train/pet/log.jsonl'), 'utf8')
    .trim()
    .split('\n');
  return log.flatMap((line) => {
    const entry = JSON.parse(line) as { msg?: string; event?: string; step?: number };
    return (entry.msg ?? entry.event) === 'step' ? [entry.step!] : [];
  });
}

describe('a run', () => {
  test('ends with an adapter that has every module, its card and its picture', async () => {
    const { code, output } = await sdlTrain(['--config', configFor('whole')]);
    expect(output).toContain('pet.safetensors');
    expect(code).toBe(0);

    const checkpoint = openSd1Checkpoint(await openSafetensors(base));
    const adapter = await openSafetensors(join(folder, 'whole/pet.safetensors'));
    const names = new Set([...adapter.entries.keys()].map((key) => key.split('.')[0]));
    expect(names).toEqual(new Set(targetModules(checkpoint).map(({ name }) => name)));
    expect(adapter.metadata.get('ss_network_dim')).toBe('2');
    expect(adapter.metadata.get('ss_steps')).toBe(String(steps));
    const trained = [...names].filter((name) =>
      adapter.readF32Sync(`${name}.lora_up.weight`).some((v) => v !== 0),
    );
    expect(trained).toHaveLength(names.size);
    adapter.close();

    const card = JSON.parse(readFileSync(join(folder, 'whole/pet.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(card).toMatchObject({ 'sd version': 'SD1', 'activation text': 'zibbo' });
    expect((await sharp(join(folder, 'whole/pet.png')).metadata()).format).toBe('png');
    expect(existsSync(join(folder, 'whole/.sdl-train/pet/loss.png'))).toBe(true);
  });

  test('that is killed and started again ends with the same bytes', async () => {
    const config = configFor('killed');
    const killed = await sdlTrain(['--config', config], (_, kill) => {
      const log = join(folder, 'killed/.sdl-train/pet/log.jsonl');
      if (existsSync(log) && loggedSteps('killed').length >= 3) kill('SIGKILL');
    });
    expect(killed.code).toBeNull();
    expect(existsSync(join(folder, 'killed/pet.safetensors'))).toBe(false);
    const again = await sdlTrain(['--config', config]);
    expect(again.output).toMatch(/going on after step \d/);
    expect(bytesOf('killed').equals(bytesOf('whole'))).toBe(true);
  });

  test('that is stopped by Ctrl-C saves its state, says how to go on, and does', async () => {
    const config = configFor('stopped');
    let asked = false;
    const stopped = await sdlTrain(['--config', config], (output, kill) => {
      if (asked || !/training +\d/.test(output)) return;
      asked = true;
      kill('SIGINT');
    });
    expect(stopped.code).toBe(130);
    expect(stopped.output).toContain('run the same command again to go on from there');
    expect((await sdlTrain(['--config', config])).code).toBe(0);
    expect(bytesOf('stopped').equals(bytesOf('whole'))).toBe(true);
  });
});

test('NaN in a weight ends the run with its name, before anything is trained', async () => {
  const key = 'model.diffusion_model.middle_block.0.in_layers.2.weight';
  const damaged = join(folder, 'damaged.safetensors');
  await writeTinyCheckpoint(damaged, (tensors) => {
    (tensors.get(key)!.data as Uint16Array)[5] = 0x7e00;
  });
  const { code, output } = await sdlTrain([
    '--config',
    configFor('nan'),
    '--set',
    `base=${damaged}`,
  ]);
  expect(code).toBe(1);
  expect(output).toContain(key);
  expect(output).not.toMatch(/ at .+:\d+:\d+/);
  expect(existsSync(join(folder, 'nan/pet.safetensors'))).toBe(false);
});

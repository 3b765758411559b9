/** @file The metadata of an adapter, field by field. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  type AdapterFamily,
  kohyaMetadata,
  type RunDescription,
} from '../../src/export/kohya-metadata.ts';
import { plainRun } from './run-description.ts';

const known = (
  JSON.parse(
    readFileSync(join(import.meta.dirname, '../fixtures/weights/metadata_fields.json'), 'utf8'),
  ) as { fields: { key: string; when: string }[] }
).fields;

const saved = { steps: 1000, epoch: 10, finishedAt: 1722503600.5 };
const metadataOf = (changes: Partial<RunDescription> = {}) =>
  kohyaMetadata({ ...plainRun, ...changes }, saved);

describe('kohyaMetadata', () => {
  test('spells values as Python does', () => {
    expect(Object.fromEntries(metadataOf())).toMatchObject({
      ss_session_id: '2837465019',
      ss_training_started_at: '1722500000.1234567',
      ss_output_name: 'my_lora',
      ss_learning_rate: '0.0001',
      ss_unet_lr: '0.0001',
      ss_text_encoder_lr: '5e-05',
      ss_num_train_images: '200',
      ss_num_reg_images: '30',
      ss_network_module: 'networks.lora',
      ss_network_dim: '16',
      ss_network_alpha: '8.0',
      ss_network_dropout: 'None',
      ss_mixed_precision: 'no',
      ss_v2: 'False',
      ss_clip_skip: 'None',
      ss_cache_latents: 'True',
      ss_noise_offset: 'None',
      ss_min_snr_gamma: '5.0',
      ss_caption_dropout_rate: '0.05',
      ss_tag_frequency: '{"10_zoe": {"zoe": 2, "2": 1}, "1_girl": {}}',
      ss_dataset_dirs: '{"10_zoe": {"n_repeats": 10, "img_count": 20}}',
      ss_reg_dataset_dirs: '{"1_girl": {"n_repeats": 1, "img_count": 30}}',
      ss_bucket_info:
        '{"buckets": {"0": {"resolution": [512, 768], "count": 230}}, "mean_img_ar_error": 0.0}',
      ss_resolution: '(512, 768)',
      ss_sd_model_hash: 'e3b0c442',
      ss_training_finished_at: '1722503600.5',
      ss_steps: '1000',
      ss_epoch: '10',
      'modelspec.title': 'my_lora',
      'modelspec.resolution': '512x768',
      'modelspec.trigger_phrase': 'zoe',
    });
  });

  test('uses known fields only, training first and in the order of the table', () => {
    const keys = [...metadataOf().keys()];
    const order = known.map(({ key }) => key);
    expect(keys.filter((key) => !order.includes(key))).toEqual([]);
    const training = keys.filter((key) => key.startsWith('ss_'));
    expect(keys.slice(0, training.length)).toEqual(training);
    expect(training).toEqual(order.filter((key) => training.includes(key)));
    expect(training.slice(-3)).toEqual(['ss_training_finished_at', 'ss_steps', 'ss_epoch']);
  });

  test('states every field that kohya always writes, but for those it can not know', () => {
    const fields = metadataOf();
    const left = known.filter(({ key, when }) => when.startsWith('always') && !fields.has(key));
    expect(left.map(({ key }) => key)).toEqual([
      'ss_multires_noise_discount',
      'ss_sd_scripts_commit_hash',
      'ss_noise_offset_random_strength',
      'ss_ip_noise_gamma_random_strength',
      'ss_huber_schedule',
      'ss_huber_c',
    ]);
  });
});

describe('families', () => {
  const rows: [AdapterFamily, RunDescription['predictionType'], string, string, string, string][] =
    [
      ['sd1', 'epsilon', 'sd_v1', 'False', 'stable-diffusion-v1/lora', 'epsilon'],
      ['sd1', 'v_prediction', 'sd_v1_v', 'False', 'stable-diffusion-v1/lora', 'v'],
      ['sd2', 'epsilon', 'sd_v2', 'True', 'stable-diffusion-v2-512/lora', 'epsilon'],
      ['sd2', 'v_prediction', 'sd_v2_v', 'True', 'stable-diffusion-v2-768-v/lora', 'v'],
      ['sdxl', 'epsilon', 'sdxl_base_v1-0', 'False', 'stable-diffusion-xl-v1-base/lora', 'epsilon'],
    ];
  test.each(rows)('%s %s', (family, predictionType, version, v2, architecture, prediction) => {
    expect(Object.fromEntries(metadataOf({ family, predictionType }))).toMatchObject({
      ss_base_model_version: version,
      ss_v2: v2,
      'modelspec.architecture': architecture,
      'modelspec.prediction_type': prediction,
      'modelspec.implementation':
        family === 'sdxl' ? 'https://github.com/Stability-AI/generative-models' : 'diffusers',
    });
  });
});

describe('what differs from run to run', () => {
  test('says what a run has beyond the plain one', () => {
    const fields = metadataOf({
      networkArgs: { conv_dim: '8', conv_alpha: '1' },
      clipSkip: 2,
      vae: { name: 'vae.safetensors' },
      title: 'Zoé',
      author: 'me',
    });
    expect(Object.fromEntries(fields)).toMatchObject({
      ss_network_args: '{"conv_dim": "8", "conv_alpha": "1"}',
      ss_clip_skip: '2',
      ss_vae_name: 'vae.safetensors',
      'modelspec.encoder_layer': '2',
      'modelspec.title': 'Zoé',
      'modelspec.author': 'me',
    });
    expect(fields.has('ss_vae_hash')).toBe(false);
    expect(metadataOf().has('ss_network_args')).toBe(false);
  });

  test('is a function of its arguments', () => {
    expect([...metadataOf()]).toEqual([...metadataOf()]);
    expect(metadataOf().get('modelspec.date')).toMatch(/^2024-0(7-31|8-01)T\d\d:13:20$/);
  });

  test('adds up folders of one name', () => {
    const [folder] = plainRun.dataset.folders;
    const dataset = { ...plainRun.dataset, folders: [folder!, folder!] };
    const fields = metadataOf({ dataset });
    expect(fields.get('ss_dataset_dirs')).toBe('{"10_zoe": {"n_repeats": 10, "img_count": 40}}');
    expect(fields.get('ss_tag_frequency')).toBe('{"10_zoe": {"zoe": 4, "2": 2}}');
    expect(fields.get('ss_num_train_images')).toBe('400');
  });

  test('stays small with very many tags', () => {
    const tags = new Map(Array.from({ length: 30_000 }, (_, i) => [`名前 ${i}`, 30_000 - i]));
    const folder = { ...plainRun.dataset.folders[0]!, tags };
    const fields = metadataOf({ dataset: { ...plainRun.dataset, folders: [folder] } });
    const bytes = Buffer.byteLength(JSON.stringify([...fields]));
    expect(bytes).toBeLessThanOrEqual(512 * 1024 + 100);
    expect(bytes).toBeGreaterThan(500 * 1024);
    const kept = JSON.parse(fields.get('ss_tag_frequency') ?? '') as Record<string, object>;
    expect(Object.keys(kept['10_zoe'] ?? {})[0]).toBe('名前 0');
  });
});

/** @file What the options of kohya's sd-scripts are called here: for error messages and the documentation. */

/** One option of sd-scripts. */
export interface KohyaName {
  readonly option: string;
  /** Our key, or null where there is none. */
  readonly key: string | null;
  readonly note?: string;
}

const noted = (option: string, key: string | null, note: string): KohyaName => ({
  option,
  key,
  note,
});

const named: Readonly<Record<string, string>> = {
  pretrained_model_name_or_path: 'base',
  vae: 'vae',
  output_dir: 'output.dir',
  output_name: 'output.name',
  save_every_n_steps: 'output.saveEverySteps',
  save_every_n_epochs: 'output.saveEveryEpochs',
  metadata_description: 'output.description',
  metadata_author: 'output.author',
  network_dim: 'lora.rank',
  network_alpha: 'lora.alpha',
  conv_dim: 'lora.convRank',
  conv_alpha: 'lora.convAlpha',
  image_dir: 'data.folders[].path',
  num_repeats: 'data.folders[].repeats',
  resolution: 'data.resolution',
  enable_bucket: 'data.buckets.enabled',
  bucket_reso_steps: 'data.buckets.step',
  min_bucket_reso: 'data.buckets.minSide',
  max_bucket_reso: 'data.buckets.maxSide',
  shuffle_caption: 'data.shuffleTags',
  keep_tokens: 'data.keepTokens',
  caption_separator: 'data.captionSeparator',
  caption_dropout_rate: 'data.captionDropout',
  flip_aug: 'data.flip',
  max_train_steps: 'train.steps',
  max_train_epochs: 'train.epochs',
  train_batch_size: 'train.batchSize',
  batch_size: 'train.batchSize',
  gradient_accumulation_steps: 'train.gradientAccumulationSteps',
  learning_rate: 'train.learningRate',
  unet_lr: 'train.unetLearningRate',
  text_encoder_lr: 'train.textEncoderLearningRate',
  lr_scheduler_num_cycles: 'train.restarts',
  max_grad_norm: 'train.maxGradNorm',
  min_snr_gamma: 'train.minSnrGamma',
  debiased_estimation_loss: 'train.debiasedEstimation',
  noise_offset: 'train.noiseOffset',
  prior_loss_weight: 'train.priorLossWeight',
  min_timestep: 'train.minTimestep',
  max_timestep: 'train.maxTimestep',
  clip_skip: 'train.clipSkip',
  gradient_checkpointing: 'train.gradientCheckpointing',
  seed: 'train.seed',
  sample_every_n_steps: 'preview.everySteps',
};

const withNote: readonly KohyaName[] = [
  noted(
    'weighted_captions',
    'data.emphasis',
    'weighed as in the web UI, each 75 tokens by themselves; commas in brackets are fine',
  ),
  noted('save_precision', 'output.precision', 'fp16 is f16, float is f32'),
  noted('save_last_n_steps', 'output.keepLast', 'a number of files, not of steps'),
  noted('save_last_n_epochs', 'output.keepLast', 'a number of files'),
  noted('network_train_unet_only', 'lora.textEncoder', 'set it to false'),
  noted('network_train_text_encoder_only', 'lora.unet', 'set it to false'),
  noted('train_data_dir', 'data.folders', 'a list; N_name folders give their repeats'),
  noted('reg_data_dir', 'data.folders', 'one more folder with prior: true'),
  noted('is_reg', 'data.folders[].prior', 'true or false'),
  noted('class_tokens', 'data.folders[].caption', 'or triggerWord, to put it before captions'),
  noted('caption_prefix', 'data.triggerWord', 'put before captions that do not hold it'),
  noted('caption_extension', 'data.captionExtensions', 'a list'),
  noted('bucket_no_upscale', 'data.buckets.upscale', 'set it to false'),
  noted('lr_scheduler', 'train.lrSchedule', 'constant_with_warmup is constant with warmupSteps'),
  noted('lr_warmup_steps', 'train.warmupSteps', 'a number of steps, not a share'),
  noted(
    'v_parameterization',
    'train.predictionType',
    'found from the base; v_prediction forces it',
  ),
  noted('zero_terminal_snr', 'train.zeroTerminalSnr', 'found from the base where it says so'),
  noted('max_token_length', 'train.maxTokens', '75, 150 or 225'),
  noted('optimizer_args', 'train', 'weightDecay, beta1, beta2 and epsilon are keys of their own'),
  noted('sample_prompts', 'preview.prompts', 'a list of texts, not a file'),
  noted('sample_every_n_epochs', 'preview.everySteps', 'in steps'),
  noted('sample_at_first', 'preview.before', 'true or false'),
  noted('sample_sampler', 'preview.sampler', 'ddim or euler_a'),
  noted('network_args', 'lora', 'convRank and convAlpha are keys of their own'),
  noted('optimizer_type', null, 'the optimizer is AdamW'),
  noted('network_module', null, 'LoRA, or LoCon with lora.convRank'),
  noted(
    'mixed_precision',
    'device.precision',
    'fp16 is f16, no is f32; with device.executor: torch',
  ),
  noted('cache_latents', null, 'always done, in data.cacheDir'),
  noted('cache_latents_to_disk', null, 'always done, in data.cacheDir'),
  noted('save_model_as', null, 'always safetensors'),
  noted('save_state', null, 'always done'),
  noted('resume', null, 'run the same command again'),
  noted('loss_type', null, 'the loss is the squared error'),
  noted('no_half_vae', null, 'the VAE is in f32, or in bf16 with the rest'),
  noted('max_data_loader_n_workers', null, 'nothing to choose here'),
  noted('xformers', null, 'nothing to choose here'),
  noted('sdpa', null, 'nothing to choose here'),
];

/** Options of sd-scripts and their names here, those with a key first. */
export const kohyaNames: readonly KohyaName[] = [
  ...Object.entries(named).map(([option, key]) => ({ option, key })),
  ...withNote,
];

/** The entry of an option however it is written: `--unet_lr`, `unet-lr`, `unet_lr`. */
export function findKohyaName(written: string): KohyaName | undefined {
  const option = written.replace(/^-+/, '').replaceAll('-', '_').toLowerCase();
  return kohyaNames.find((name) => name.option === option);
}

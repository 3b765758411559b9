/**
 * @file How a base model is to be trained: what its UNet predicts, where its noise ends, which layer of
 * the text encoder it reads. Found from the model itself; the configuration may say otherwise.
 */

import type { Checkpoint } from '../models/checkpoint.ts';
import type { Prediction } from '../models/model-family.ts';
import { UserError } from '../tensor/user-error.ts';

/** What a configuration says of its base; null where it leaves that to the base. */
export interface WantedSettings {
  readonly predictionType: Prediction | null;
  readonly zeroTerminalSnr: boolean | null;
  readonly clipSkip: number | null;
}

export interface BaseSettings {
  readonly predictionType: Prediction;
  readonly zeroTerminalSnr: boolean;
  readonly clipSkip: number;
  /** Side of the pictures that the base was made at, in pixels; null where nothing tells. */
  readonly resolution: number | null;
  /** Where the prediction type is known from, in words. */
  readonly predictionFrom: string;
  /** What does not fit together, one sentence each. */
  readonly warnings: readonly string[];
}

const usualClipSkip = 1;

export const predictionNames: { readonly [P in Prediction]: string } = {
  epsilon: 'noise (epsilon)',
  v_prediction: 'velocity (v-prediction)',
};

/** Finds out by the base's own output; null where that tells nothing. */
export type TryPrediction = () => Promise<Prediction | null>;

interface Known<T> {
  readonly value: T;
  readonly from: string;
}

/** What the model itself says it predicts; null where it says nothing. */
async function ownPrediction(
  { family, hints }: Checkpoint,
  tryPrediction: TryPrediction,
): Promise<Known<Prediction> | null> {
  if (hints.prediction) return hints.prediction;
  const usual = family.usualPrediction;
  if (usual !== null) return { value: usual, from: `the usual one of ${family.name}` };
  const tried = await tryPrediction();
  return tried && { value: tried, from: 'tried on the base itself' };
}

function clipSkipOf({ family, hints, sizes }: Checkpoint, wanted: number | null): number {
  const { fixedClipSkip, name } = family;
  if (fixedClipSkip !== null) {
    if (wanted === null || wanted === fixedClipSkip) return fixedClipSkip;
    throw new UserError(
      `train.clipSkip: ${wanted}, but all models of ${name} read the same layer of their text encoder; take the line out`,
    );
  }
  const { layers } = sizes.text;
  const said = hints.clipSkip?.value ?? usualClipSkip;
  const clipSkip = wanted ?? (said <= layers ? said : usualClipSkip);
  if (clipSkip <= layers) return clipSkip;
  throw new UserError(
    `train.clipSkip: ${clipSkip}, but the text encoder has ${layers} layers; set 1 to ${layers}`,
  );
}

/** Channels of the UNet's first block in all published models; smaller ones are somebody's own. */
const publishedChannels = 320;

function resolutionOf({ hints, family, sizes }: Checkpoint, prediction: Prediction): number | null {
  if (hints.resolution !== null) return hints.resolution;
  return sizes.unet.channels[0] === publishedChannels ? family.resolution[prediction] : null;
}

/** What is known of a base without running it. */
export interface ForeseenSettings extends BaseSettings {
  /** Whether its prediction type, and what follows from it, is only known once the base is tried out. */
  readonly needsTrial: boolean;
}

/**
 * How a base is going to be trained, as far as that can be told without running it; where it has to be
 * tried out, as for velocity, which goes with the larger pictures.
 * @throws UserError as `baseSettings`
 */
export async function foreseeSettings(
  checkpoint: Checkpoint,
  wanted: WantedSettings,
): Promise<ForeseenSettings> {
  let needsTrial = false;
  const settings = await baseSettings(checkpoint, wanted, async () => {
    needsTrial = true;
    return 'v_prediction';
  });
  return { ...settings, needsTrial };
}

/**
 * Settles how a base is trained.
 * @param tryPrediction asked only where neither file nor family tells what the UNet predicts
 * @throws UserError where that stays open, or the configuration asks for what the model cannot do
 */
export async function baseSettings(
  checkpoint: Checkpoint,
  wanted: WantedSettings,
  tryPrediction: TryPrediction,
): Promise<BaseSettings> {
  const { family, hints } = checkpoint;
  const warnings: string[] = [];
  const own = await ownPrediction(checkpoint, tryPrediction);
  const given: Known<Prediction> | null =
    wanted.predictionType === null
      ? null
      : { value: wanted.predictionType, from: 'train.predictionType' };
  const prediction = given ?? own;
  if (!prediction) {
    throw new UserError(
      `nothing tells whether this ${family.name} model predicts noise or velocity, and its own output does not either; ` +
        'set train.predictionType: v_prediction for 2.x models made at 768 pixels, epsilon for those made at 512',
    );
  }
  if (given && own && given.value !== own.value) {
    warnings.push(
      `train.predictionType is ${given.value}, but the base predicts ${predictionNames[own.value]} (${own.from}): ` +
        'if that is right, the adapter will spoil pictures; take the line out',
    );
  }
  const found = hints.zeroTerminalSnr;
  const zeroTerminalSnr = wanted.zeroTerminalSnr ?? found?.value ?? false;
  if (found && found.value !== zeroTerminalSnr) {
    const says = found.value ? 'zero' : 'the usual';
    warnings.push(
      `train.zeroTerminalSnr is ${zeroTerminalSnr}, but the base was trained with ${says} terminal SNR (${found.from})`,
    );
  }
  if (zeroTerminalSnr && prediction.value === 'epsilon') {
    throw new UserError(
      'train.zeroTerminalSnr: needs v_prediction: where nothing of the picture is left, predicting the noise teaches nothing',
    );
  }
  return {
    predictionType: prediction.value,
    predictionFrom: prediction.from,
    zeroTerminalSnr,
    clipSkip: clipSkipOf(checkpoint, wanted.clipSkip),
    resolution: resolutionOf(checkpoint, prediction.value),
    warnings,
  };
}

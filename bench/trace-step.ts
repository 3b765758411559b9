/** @file One training step of a published model as it would be on a GPU, without one: what it launches and holds. */

import { runPasses } from '../src/graph/passes/run-passes.ts';
import { loraLayout } from '../src/lora/lora-layout.ts';
import { targetModules } from '../src/lora/target-modules.ts';
import { families } from '../src/models/families.ts';
import type { FamilyId } from '../src/models/model-family.ts';
import { modelTensorShapes } from '../src/models/tensor-shapes.ts';
import { cudaChoices } from '../src/runtime/torch/attention-trials.ts';
import { lowerGraph } from '../src/runtime/torch/lower-graph.ts';
import {
  type AttentionChoice,
  type AttentionSizes,
  ownKernels,
} from '../src/runtime/torch/rules/rule.ts';
import { gradientGraph } from '../src/train/lora-step.ts';
import { publishedSizes } from './published-sizes.ts';
import { type Trace, traceCalls } from './trace-calls.ts';

export interface TracedStep extends Trace {
  /** Of the library; many only show a tensor in another way. */
  readonly calls: number;
  /** Calls that compute or copy, and copies inside of them. */
  readonly launches: number;
}

export interface StepSize {
  /** Pixels of each side. */
  readonly resolution: number;
  readonly batch: number;
  readonly rank: number;
  readonly checkpointing?: boolean;
  /** Without kernels of our own. */
  readonly plain?: boolean;
  /** Flash unless given; of heads that it takes. */
  readonly attention?: 'flash' | 'cudnn';
  /** Attention to few keys in as many chunks as are tried. */
  readonly chunks?: boolean;
}

/** What a GPU may have chosen. */
function attentionChoice(
  sizes: AttentionSizes,
  { attention = 'flash', chunks = false }: StepSize,
): AttentionChoice {
  const all = cudaChoices(sizes, 'bf16');
  const ofKind = all.filter(({ kernel }) => kernel === attention);
  const inChunks = chunks ? ofKind.find((choice) => choice.chunks > 1) : undefined;
  return inChunks ?? ofKind[0] ?? all[0]!;
}

/** What lowering asks of a GPU: bf16, norms of row-major images. */
const target = {
  compute: 'bf16',
  channelsLast: true,
  normsTakeChannelsLast: false,
  addsProducts: true,
} as const;

/** Any codes will do: nothing is called. */
const codes = {
  dtypeCodes: { f32: 6, bf16: 15, f16: 5, i32: 3, i64: 4, bool: 11 },
  memoryFormats: { contiguous: 0, channelsLast: 2 },
};

/** The gradient of the UNet's factors, from cached latents and text. */
export function traceStep(family: FamilyId, size: StepSize): TracedStep {
  const { resolution, batch, rank, checkpointing = false } = size;
  const shapes = modelTensorShapes(publishedSizes[family]);
  const model = {
    family: families[family],
    shapes,
    predictionType: 'epsilon',
    joinsLayers: true,
    recomputesFreely: !size.plain,
  } as const;
  const layout = loraLayout('unet', targetModules(model, { textEncoder: false }), { rank });
  const side = resolution / 8;
  const graph = gradientGraph(
    model,
    [layout],
    { batch, height: side, width: side, text: { tokens: 77 } },
    { clipSkip: 1, gradientCheckpointing: checkpointing },
  );
  const kernels = size.plain ? new Set<never>() : ownKernels;
  const attention = (sizes: AttentionSizes) => attentionChoice(sizes, size);
  const lowered = lowerGraph(runPasses(graph), { ...target, attention, kernels }, codes);
  const trace = traceCalls(lowered);
  const launches = [...trace.kernels.values()].reduce((a, b) => a + b, 0);
  return { ...trace, calls: lowered.calls.length, launches };
}

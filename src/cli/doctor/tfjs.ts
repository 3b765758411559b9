/** @file TensorFlow.js: whether it is installed, and what it computes with. */

import { backendText, installedEngines, openTfjs } from '../../runtime/tfjs/open-tfjs.ts';
import { type Finding, reasonOf } from './finding.ts';

const name = 'TensorFlow.js';

/** Training needs no TensorFlow.js: that it is missing is worth a note. */
export async function tfjsFindings(): Promise<Finding[]> {
  try {
    const backend = await openTfjs();
    const rest = installedEngines().filter((engine) => engine !== backend.engine);
    const others = rest.length === 0 ? '' : `; also ${rest.join(', ')} (device.tfjsBackend)`;
    return [
      {
        verdict: 'good',
        name,
        text: `${backendText(backend)}${others}`,
        advice: 'slower than ONNX Runtime; set device.executor: tfjs to use it all the same',
      },
    ];
  } catch (error) {
    const advice = 'not needed, and slower than ONNX Runtime';
    return [{ verdict: 'note', name, text: reasonOf(error), advice }];
  }
}

/**
 * @file What the walk through a graph does not see, as factors that bring it to the resident memory of
 * real runs: those of test/runtime/onnx/memory/measured-peaks.ts, on Linux with Node 20 and ONNX Runtime
 * 1.30. Fitted by eye to all of them; none is off by more than the test there allows.
 */

/** Node with the program, ONNX Runtime, sharp and the tokenizer, in bytes. */
export const programBytes = 170e6;

/** Of a graph's description, in ours and in ONNX Runtime's memory, for each node of ONNX. */
export const bytesPerNode = 10e3;

/** Held for a byte of weights: reading a tensor leaves gaps in the heap. */
export const perWeightByte = 1.08;

/** Held for a byte of buffers: threads have working memory of their own inside products and convolutions. */
export const perBufferByte = 1.15;

/**
 * The same for graphs that change nothing, as those of previews: VAE decoders held 1.4 to 2.2 times what
 * the walk finds (SD 1.x at 192 to 384 pixels, a small one at 512), UNets 1.1 times.
 */
export const perDrawnByte = 1.7;

/** @file The one weight that is trained in a compact form. */

/** Name of the table of token embeddings. */
export const tokenTable = 'text_encoder.text_model.embeddings.token_embedding.weight';

/** Seed of the captions that the compact vocabulary is gathered from. */
export const vocabularySeed = 5;

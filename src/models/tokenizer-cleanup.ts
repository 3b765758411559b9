/** @file What is done to a caption before it is split in tokens. */

/**
 * Makes a text as plain as CLIP's training saw it: straight quotes, usual widths, no ligatures and
 * no control characters, NFC, one space between words.
 *
 * These are the parts of Python's `ftfy.fix_text` that matter to a caption. The web UI and kohya's
 * tools run it before they tokenize; case is left to the tokenizer.
 */
export function cleanCaption(text: string): string {
  return text
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .replace(ligaturesAndWide, (character) => character.normalize('NFKC'))
    .replace(/[\u02bc\u2018-\u201b]/g, "'")
    .replace(/[\u201c-\u201f]/g, '"')
    .replace(/[\u2028\u2029]/g, '\n')
    .replace(controlCharacters, '')
    .normalize('NFC')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Latin digraphs and ligatures, then the full and half width forms of other characters. */
const ligaturesAndWide =
  /[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06\u3000\uff01-\uffef]/g;

/** All but tab, line feed, form feed and return; and marks that only steer a display. */
const controlCharacters =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is to be removed
  /[\u0000-\u0008\u000b\u000e-\u001f\u007f\u206a-\u206f\ufeff\ufff9-\ufffc]/g;

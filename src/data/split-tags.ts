/** @file Cuts a caption into its tags, be it with the brackets of AUTOMATIC1111's web UI around some. */

/**
 * For each character the number of bracket pairs around it. A backslash takes the next character's
 * meaning; a bracket without its other half is text.
 */
function bracketDepths(text: string): Int32Array {
  const changes = new Int32Array(text.length + 1);
  const open: Record<string, number[]> = { ')': [], ']': [] };
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === '\\') i++;
    else if (char === '(') open[')']!.push(i);
    else if (char === '[') open[']']!.push(i);
    else if (char === ')' || char === ']') {
      const start = open[char]!.pop();
      if (start === undefined) continue;
      changes[start]!++;
      changes[i]!--;
    }
  }
  for (let i = 1; i < changes.length; i++) changes[i]! += changes[i - 1]!;
  return changes;
}

/** Pieces between the separators that stand outside of brackets. */
function splitOutsideBrackets(text: string, separator: string): string[] {
  const depths = bracketDepths(text);
  const pieces: string[] = [];
  let start = 0;
  let at = text.indexOf(separator);
  while (at >= 0) {
    if (depths[at] === 0) {
      pieces.push(text.slice(start, at));
      start = at + separator.length;
    }
    at = text.indexOf(separator, Math.max(start, at + 1));
  }
  return [...pieces, text.slice(start)];
}

/**
 * The tags, trimmed, without empty ones.
 * @param emphasis whether brackets are weights, so that `(red hair, blue eyes:1.3)` is one tag
 */
export function splitTags(text: string, separator: string, emphasis: boolean): string[] {
  const pieces = emphasis ? splitOutsideBrackets(text, separator) : text.split(separator);
  return pieces.map((tag) => tag.trim()).filter((tag) => tag !== '');
}

/** A tag without the brackets and the weight around it: `((zibbo:1.2))` is `zibbo`. */
export function bareTag(tag: string): string {
  return tag.replace(/^[([]+/, '').replace(/(?::\s*[+-]?[\d.]+\s*)?[)\]]+$/, '');
}

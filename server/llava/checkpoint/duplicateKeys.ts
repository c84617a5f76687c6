/**
 * The first key that an object of this JSON text has twice, or undefined. `JSON.parse` keeps the last of two equal keys
 * without a word, and two readers of one file may then see different tensors.
 *
 * @param text JSON that `JSON.parse` has accepted: only its structure is followed here.
 */
export function firstDuplicateKey(text: string): string | undefined {
  /** The keys of every object that is open, and null for every array. */
  const open: (Set<string> | null)[] = [];
  /** A string is a key when it follows `{` or `,` directly inside an object. */
  let expectsKey = false;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '{':
        open.push(new Set());
        expectsKey = true;
        break;
      case '[':
        open.push(null);
        expectsKey = false;
        break;
      case '}':
      case ']':
        open.pop();
        expectsKey = false;
        break;
      case ',':
        expectsKey = open.at(-1) !== null;
        break;
      case '"': {
        const end = endOfString(text, i);
        const keys = open.at(-1);
        if (expectsKey && keys) {
          // Decoded, since "a" and "\u0061" are one key.
          const key = JSON.parse(text.slice(i, end + 1)) as string;
          if (keys.has(key)) return key;
          keys.add(key);
          expectsKey = false;
        }
        i = end;
        break;
      }
    }
  }
  return undefined;
}

/** Index of the quote that closes the string which opens at `start`. */
function endOfString(text: string, start: number): number {
  for (let i = start + 1; ; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i;
  }
}

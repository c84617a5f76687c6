import type { Matrix } from '../matrix';
import type { Selection } from './reduction';

/** Applies a selection to rows: kept rows are copied, merged ones summed with their weights. */
export function combine(rows: Matrix, tokens: Selection['tokens']): Matrix {
  const width = rows.columns;
  const data = new Float32Array(tokens.length * width);
  tokens.forEach((token, target) => {
    const start = target * width;
    if (token.kind === 'kept') {
      data.set(rows.data.subarray(token.index * width, (token.index + 1) * width), start);
    } else if (token.kind === 'merged') {
      token.sources.forEach((source, position) => {
        const weight = token.weights[position];
        const from = source * width;
        for (let i = 0; i < width; i++) data[start + i] += weight * rows.data[from + i];
      });
    } else {
      data.set(token.vector, start);
    }
  });
  return { data, rows: tokens.length, columns: width };
}

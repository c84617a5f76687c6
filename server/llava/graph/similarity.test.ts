import { expect, it } from 'vitest';

import { mulberry32 } from '../mulberry32';
import { floats, floatTensor, Session } from '../runtime/session';
import { emitSimilarity } from './similarity';

it.each([
  [1, 3],
  [17, 8],
  [64, 33],
])(
  'is the cosine of every pair of %i rows of %i numbers; a row of zeros is similar to nothing',
  async (rows, columns) => {
    const random = mulberry32(rows);
    const data = Float32Array.from({ length: rows * columns }, () => random() - 0.5);
    data.fill(0, (rows - 1) * columns);
    const session = await Session.create(emitSimilarity(), 'cpu');
    const { similarity } = await session.run({ rows: floatTensor(data, [rows, columns]) });
    const row = (index: number): Float32Array => data.subarray(index * columns, (index + 1) * columns);
    const dot = (a: Float32Array, b: Float32Array): number =>
      a.reduce((sum, value, i) => sum + value * b[i], 0);
    for (let a = 0; a < rows; a++) {
      for (let b = 0; b < rows; b++) {
        const norms = Math.sqrt(dot(row(a), row(a)) * dot(row(b), row(b)));
        const expected = norms === 0 ? 0 : dot(row(a), row(b)) / norms;
        expect(floats(similarity)[a * rows + b]).toBeCloseTo(expected, 5);
      }
    }
    await session.dispose();
  },
);

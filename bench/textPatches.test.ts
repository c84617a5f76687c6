import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { openCheckpoint } from '../server/llava/checkpoint/open';
import { textPatches } from '../server/llava/fineText';
import { decodeImage } from '../server/llava/vision/decode';
import { preprocessImage } from '../server/llava/vision/preprocess';
import { REAL_SCREENS, readEvaluationSet, ROOT } from './evaluationSet';

/** A patch has text when so much of it lies between the heights of a line's small letters, and none when no line comes near. */
const ENOUGH = 0.2;
/** Of a line's box the part that letters fill. */
const LETTERS = { from: 0.2, height: 0.6 };

describe('the detector of text-like patches, on pages where the browser says where text is', () => {
  it('finds nearly all of them, and mostly them', async () => {
    const { config, preprocessor } = await openCheckpoint(path.join(ROOT, 'model'));
    const { patchSize, imageSize } = config.vision;
    const side = imageSize / patchSize;
    const counts = { found: 0, missed: 0, wrong: 0 };
    for (const { image, width, height, textRects } of readEvaluationSet(REAL_SCREENS).images ?? []) {
      if (!textRects) continue;
      const decoded = await decodeImage(await readFile(path.join(REAL_SCREENS, image)));
      const { pixels, source } = preprocessImage(decoded, preprocessor, 'pad', patchSize);
      const found = new Set(textPatches({ rows: side, columns: side, pixels: pixels() }));
      const cell = source.width / side;
      for (let patch = 0; patch < side * side; patch++) {
        const x = source.x + (patch % side) * cell;
        const y = source.y + Math.floor(patch / side) * cell;
        if (x + cell <= 0 || y + cell <= 0 || x >= width || y >= height) continue;
        const overlap = textRects.reduce((sum, [left, top, wide, tall]) => {
          const across = Math.min(x + cell, left + wide) - Math.max(x, left);
          const begin = top + LETTERS.from * tall;
          const down = Math.min(y + cell, begin + LETTERS.height * tall) - Math.max(y, begin);
          return sum + Math.max(0, across) * Math.max(0, down);
        }, 0);
        if (overlap > ENOUGH * cell * cell) counts[found.has(patch) ? 'found' : 'missed']++;
        else if (overlap === 0 && found.has(patch)) counts.wrong++;
      }
    }
    const recall = counts.found / (counts.found + counts.missed);
    const precision = counts.found / (counts.found + counts.wrong);
    // fineText.ts states them.
    expect({ recall: Math.round(100 * recall), precision: Math.round(100 * precision) }).toEqual({
      recall: 93,
      precision: 82,
    });
  });
});

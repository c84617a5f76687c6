import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import type { ReductionTrace } from '../protocol';
import { FINE_TEXT_WARNING, fineTextLeft, fineTextWarning, textPatches } from './fineText';
import { mulberry32 } from './mulberry32';
import type { PatchPixels } from './reduction/patches';

const SIDE = 192;
const PATCH = 8;
const GRID = { rows: SIDE / PATCH, columns: SIDE / PATCH };

/** Pixels [SIDE, SIDE, 3] by patch. */
function patches(rgb: Uint8Array): PatchPixels {
  const data = new Uint8Array(rgb.length);
  let at = 0;
  for (let patch = 0; patch < GRID.rows * GRID.columns; patch++) {
    for (let y = 0; y < PATCH; y++) {
      const row = Math.floor(patch / GRID.columns) * PATCH + y;
      const start = (row * SIDE + (patch % GRID.columns) * PATCH) * 3;
      data.set(rgb.subarray(start, start + PATCH * 3), at);
      at += PATCH * 3;
    }
  }
  return { data, patches: GRID.rows * GRID.columns, patchSize: PATCH };
}

async function drawn(svg: string): Promise<PatchPixels> {
  const document = `<svg xmlns="http://www.w3.org/2000/svg" width="${SIDE}" height="${SIDE}">${svg}</svg>`;
  return patches(await sharp(Buffer.from(document)).removeAlpha().raw().toBuffer());
}

const WINDOW =
  '<rect width="192" height="192" fill="#dde"/><rect x="20" y="20" width="150" height="120" fill="white" stroke="#336" stroke-width="2"/><rect x="20" y="20" width="150" height="24" fill="#36a"/>';

describe('patches that look like text', () => {
  it('are those with letters', async () => {
    // Strokes across and down in every patch of two lines, as letters have.
    const letters = [65, 89].flatMap((top) =>
      Array.from({ length: 40 }, (_, index) => {
        const x = 33 + index * 3;
        return `<path d="M${x} ${top}v6M${x} ${top + (index % 3) * 3}h2" stroke="black"/>`;
      }),
    );
    const found = textPatches({ ...GRID, pixels: await drawn(WINDOW + letters.join('')) });
    const expected = [64, 88].flatMap((top) =>
      Array.from({ length: 15 }, (_, column) => (top / PATCH) * GRID.columns + 4 + column),
    );
    expect(found.filter((patch) => expected.includes(patch))).toEqual(expected);
    // The corners of the window are the only other places with edges in both directions.
    expect(found.length - expected.length).toBeLessThanOrEqual(6);
  });

  it('are not edges, areas and gradients', async () => {
    const gradient =
      '<defs><linearGradient id="g" x2="1" y2="1"><stop stop-color="#000"/><stop offset="1" stop-color="#fff"/></linearGradient></defs><rect x="30" y="60" width="120" height="60" fill="url(#g)"/>';
    expect(textPatches({ ...GRID, pixels: await drawn(WINDOW) }).length).toBeLessThanOrEqual(6);
    const withGradient = textPatches({ ...GRID, pixels: await drawn(WINDOW + gradient) });
    expect(withGradient.length).toBeLessThanOrEqual(10);
  });

  it('are none in a photograph, whose texture says nothing', () => {
    const random = mulberry32(3);
    const noise = Uint8Array.from({ length: SIDE * SIDE * 3 }, () => Math.floor(random() * 256));
    expect(textPatches({ ...GRID, pixels: patches(noise) })).toEqual([]);
  });
});

describe('what is left of text', () => {
  const stage = (
    at: ReductionTrace['stages'][number]['place'],
    received: number[],
    kept: number[],
    merged: ReductionTrace['stages'][number]['merged'] = [],
  ): ReductionTrace['stages'][number] => {
    const gone = new Set([...kept, ...merged.flatMap(({ sources }) => sources)]);
    const dropped = received.filter((id) => !gone.has(id));
    return { place: at, method: 'm', spec: 'm', received, kept, merged, dropped, milliseconds: 0 };
  };
  const trace = (stages: ReductionTrace['stages']): ReductionTrace => ({
    version: 1,
    images: [],
    decoderTokens: [],
    answer: [],
    stages,
  });

  it('counts what was dropped or merged before the answer, at any place', () => {
    const stages = [
      stage(
        { at: 'vision' },
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2],
        [{ id: 4, sources: [4, 5], weights: [0.5, 0.5] }],
      ),
      stage({ at: 'layer', layer: 2 }, [0, 1, 2, 4], [0, 1, 4]),
    ];
    // 2 was seen by 2 of 8 layers.
    expect(fineTextLeft(trace(stages), { ids: [0, 2, 3, 4], shrunk: 0 }, 8)).toEqual({
      patches: 4,
      lost: 3,
      share: (1 + 1 + 6 / 8) / 4,
    });
  });

  it('does not count what leaves while the answer is written', () => {
    const stages = [stage({ at: 'step', step: 0 }, [0, 1], [1])];
    expect(fineTextLeft(trace(stages), { ids: [0, 1], shrunk: 0 }, 8)).toEqual({
      patches: 2,
      lost: 0,
      share: 0,
    });
  });

  it('counts all text of a picture that was made smaller', () => {
    expect(fineTextLeft(trace([]), { ids: [], shrunk: 12 }, 8)).toEqual({ patches: 12, lost: 12, share: 1 });
  });
});

describe('the warning', () => {
  const { share, patches: least } = FINE_TEXT_WARNING;
  it.each([
    ['most of the text is lost', 40, 40, true],
    ['just enough is lost', 40, Math.ceil(40 * share), true],
    ['less is lost', 40, Math.ceil(40 * share) - 1, false],
    ['hardly anything looks like text', least - 1, least - 1, false],
  ])('%s', (_, all, lost, warned) => {
    const warning = fineTextWarning({ patches: all, lost, share: lost / all });
    expect(warning !== undefined).toBe(warned);
    if (warning) {
      expect(warning).toMatchObject({ code: 'reduction.fine-text', askAgain: { reduction: 'none' } });
      expect(warning.message).toContain(`${lost} of ${all} patches`);
    }
  });
});

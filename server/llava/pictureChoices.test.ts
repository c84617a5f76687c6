import { readFile } from 'node:fs/promises';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AUTOMATIC_BUDGET } from './reduction/automaticBudget';
import { LlavaModel } from './model';

const ROOT = path.join(__dirname, '..', '..');

// What the engine decides by looking at the picture itself: automatic budgets, and the warning about text.
describe('looking at the picture', () => {
  let model: LlavaModel;
  let dialog: Buffer;
  beforeAll(async () => {
    model = await LlavaModel.open(path.join(ROOT, 'model'));
    dialog = await readFile(path.join(ROOT, 'media', 'samples', 'dialog.png'));
  });
  afterAll(() => model.dispose());

  const ask = (image: Buffer, reduction: string, images = [image]): ReturnType<LlavaModel['ask']> =>
    model.ask({ images, question: 'What is the title?', reduction, sampling: { maxTokens: 2 } });

  it('keeps what the picture needs, and says so in the trace', async () => {
    const result = await ask(dialog, 'mmr:keep=auto');
    expect(result.reduction).toBe('mmr:keep=auto,lambda=0.5');
    const [stage] = result.trace.stages;
    expect(stage.kept.length).toBeGreaterThanOrEqual(AUTOMATIC_BUDGET.minimum);
    expect(stage.note).toMatch(
      `Chosen automatically: ${stage.kept.length} of ${stage.received.length} tokens.`,
    );
    expect(result.costs.imageTokens.atDecoder).toBe(stage.kept.length);
    const fixed = await ask(dialog, `mmr:keep=${stage.kept.length}`);
    expect(fixed.trace.stages[0].kept).toEqual(stage.kept);
    expect(fixed.trace.stages[0].note).toBeUndefined();
  });

  it('keeps the minimum of a picture that shows nothing', async () => {
    const flat = await sharp({ create: { width: 192, height: 192, channels: 3, background: '#336699' } })
      .png()
      .toBuffer();
    const { trace } = await ask(flat, 'mmr:keep=auto');
    expect(trace.stages[0].kept).toHaveLength(AUTOMATIC_BUDGET.minimum);
  });

  it('chooses inside the decoder for what entered it', async () => {
    const before = await ask(dialog, 'mmr:keep=auto');
    const inside = await ask(dialog, 'fastv:layer=2,keep=auto');
    expect(inside.trace.stages[0].place).toEqual({ at: 'layer', layer: 2 });
    expect(inside.trace.stages[0].kept).toHaveLength(before.trace.stages[0].kept.length);
  });

  it('warns where most text went into no token of its own, and not where nothing was reduced', async () => {
    const unreduced = await ask(dialog, 'none');
    expect([unreduced.fineText, unreduced.warning]).toEqual([undefined, undefined]);
    const all = await ask(dialog, 'random:keep=all');
    expect(all.fineText?.patches).toBeGreaterThan(8);
    expect(all.fineText?.lost).toBe(0);
    expect(all.warning).toBeUndefined();
    for (const spec of ['random:keep=16', 'pool:grid=4', 'downscale:grid=8', 'fastv:layer=2,keep=8']) {
      const { warning, fineText } = await ask(dialog, spec);
      expect([spec, warning?.code, fineText!.patches]).toEqual([
        spec,
        'reduction.fine-text',
        all.fineText!.patches,
      ]);
    }
  });

  it('does not warn about a picture without text', async () => {
    const shapes = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="192" height="192"><rect width="192" height="192" fill="white"/><rect x="30" y="40" width="90" height="70" fill="tomato"/><circle cx="130" cy="130" r="40" fill="teal"/></svg>',
    );
    const { warning } = await ask(await sharp(shapes).png().toBuffer(), 'random:keep=16');
    expect(warning).toBeUndefined();
  });
});

import { readFile, rm, writeFile, cp, truncate } from 'node:fs/promises';
import path from 'node:path';

import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';

import { REDUCTIONS } from '../server/llava/reduction/registry';
import { CHECKPOINT_FIXTURES, readFixture } from '../server/llava/testing/fixtures';
import { temporaryDirectory } from '../server/llava/testing/temporaryDirectory';
import { REAL_SCREENS } from '../bench/evaluationSet';
import { type Outcome, runCommandLine } from './commandLine';

const folder = temporaryDirectory();
const fixture = readFixture('clip-llama');
const IMAGE = path.join(fixture.directory, 'reference', 'image-0.png');

const fovea = (args: string[], options: { interruptAtFirstOutput?: boolean } = {}): Promise<Outcome> =>
  runCommandLine(args, folder, options);

const ask = (image: string, ...options: string[]): Promise<Outcome> =>
  fovea(['ask', image, fixture.description.question, '--model', fixture.directory, ...options]);

/** Three lines at most: what, why, next step. */
function expectRefusal(outcome: Outcome, code: number, words: RegExp): void {
  expect(outcome.stderr).toMatch(words);
  expect(outcome.stderr.trim().split('\n').length).toBeLessThanOrEqual(3);
  expect(outcome.stdout).toBe('');
  expect(outcome.code).toBe(code);
}

describe('fovea ask', () => {
  it('answers on stdout and tells the costs on stderr', async () => {
    const outcome = await ask(IMAGE, '--max-tokens', '4', '--reduce', 'fastv:layer=1,keep=0.5');
    expect(outcome.code).toBe(0);
    expect(outcome.stdout.trim()).not.toBe('');
    expect(outcome.stderr).toMatch(/fastv:layer=1,keep=0.5: \d+ of \d+ image tokens/);
  });

  it.each(CHECKPOINT_FIXTURES.filter((name) => name !== 'clip-qwen2-two-images'))(
    '--json prints one object: the prompt and the 32 greedy tokens of transformers (%s)',
    async (name) => {
      const { directory, description, tensors } = readFixture(name);
      const image = path.join(directory, 'reference', description.images[0].file);
      const outcome = await fovea([
        ...['ask', image, description.question, '--model', directory, '--fit', 'crop', '--max-tokens', '32'],
        ...(description.system ? ['--system', description.system] : []),
        '--json',
      ]);
      expect(outcome.stderr).toBe('');
      const result = JSON.parse(outcome.stdout);
      expect(outcome.stdout.trim().split('\n').length).toBe(1);
      expect(result.promptTokenIds).toEqual(description.promptIds);
      expect(result.answerTokenIds).toEqual(description.answerIds);

      const vocabulary = tensors.answer_logits.shape[1];
      const logits = tensors.answer_logits.data.subarray(0, vocabulary);
      const best = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, 20);
      expect(result.firstStep.topTokenIds.length).toBe(20);
      best.forEach((id, rank) => expect(result.firstStep.topLogits[rank]).toBeCloseTo(logits[id], 2));
      expect(result.imageTokens.total).toBe(description.imageTokensPerImage);
      expect(result.imageTokens.atDecoder).toBe(description.imageTokensPerImage);
      expect(result.reduction).toBe('none');
      expect(Object.values(result.timings).every((value) => Number.isFinite(value))).toBe(true);
    },
  );

  it('--json lists the raster indices that every stage kept', async () => {
    const outcome = await ask(
      IMAGE,
      '--json',
      '--max-tokens',
      '2',
      '--reduce',
      'uniform:keep=9+fastv:layer=1,keep=4',
    );
    const result = JSON.parse(outcome.stdout);
    expect(result.kept.map((stage: number[]) => stage.length)).toEqual([9, 4]);
    expect(result.imageTokens.perStage).toEqual([9, 4]);
    for (const stage of result.kept as number[][]) {
      expect(stage).toEqual(stage.toSorted((a, b) => a - b));
      expect(stage.every((index) => index >= 0 && index < result.imageTokens.total)).toBe(true);
    }
    expect(result.kept[0]).toEqual(expect.arrayContaining(result.kept[1]));
  });

  it.each(['html', 'json', 'png'])('writes a trace as .%s', async (ending) => {
    const file = path.join(folder, `trace.${ending}`);
    const outcome = await ask(
      IMAGE,
      '--max-tokens',
      '2',
      '--reduce',
      'fastv:layer=1,keep=0.5',
      '--trace',
      file,
    );
    expect(outcome.code).toBe(0);
    const written = await readFile(file);
    if (ending === 'html') {
      expect(written.toString()).toContain('<!DOCTYPE html>');
      // Self-contained: nothing is fetched from anywhere.
      expect(written.toString()).not.toMatch(/(src|href)="(https?:)?\/\//);
    }
    if (ending === 'json') expect(JSON.parse(written.toString()).trace.stages.length).toBe(1);
    if (ending === 'png') expect((await sharp(written).metadata()).width).toBeGreaterThan(100);
  });

  it('--part asks about a rectangle as if it were the image', async () => {
    const { width = 0, height = 0 } = await sharp(IMAGE).metadata();
    const [left, top] = [Math.floor(width / 4), Math.floor(height / 3)];
    const rect = { left, top, width: Math.ceil(width / 2), height: Math.ceil(height / 2) };
    const cut = path.join(folder, 'cut.png');
    await sharp(IMAGE).extract(rect).png().toFile(cut);
    const part = `${rect.left},${rect.top},${rect.width},${rect.height}`;
    const short = ['--json', '--max-tokens', '2'];
    const [ofPart, ofFile, whole] = await Promise.all([
      ask(IMAGE, '--part', part, ...short),
      ask(cut, ...short),
      ask(IMAGE, ...short),
    ]).then((outcomes) => outcomes.map(({ stdout }) => JSON.parse(stdout).firstStep));
    expect(ofPart).toEqual(ofFile);
    expect(ofPart).not.toEqual(whole);
  });

  it('says where text is too small for the model, and how small it is', async () => {
    const screenshot = path.join(REAL_SCREENS, 'images', 'vscode-editor.png');
    const outcome = await ask(screenshot, '--max-tokens', '4');
    expect(outcome.stderr).toMatch(/warning: The text is about .* px high .*--part x,y,w,h/);
    const { textHeight, warning } = JSON.parse((await ask(screenshot, '--max-tokens', '4', '--json')).stdout);
    // 1280 x 800 pixels, and a tower that sees 48 x 48.
    expect(textHeight.source).toBeGreaterThan(6);
    expect(textHeight.source).toBeLessThan(16);
    expect(textHeight.seen).toBeCloseTo((textHeight.source * 48) / 1280, 5);
    expect(warning).toEqual({ code: 'image.small-text', message: expect.stringContaining('px high') });
  });

  it('takes a whole prompt with --raw-prompt', async () => {
    const args = ['ask', IMAGE, fixture.description.promptText, '--raw-prompt', '--model', fixture.directory];
    const result = JSON.parse(
      (await fovea([...args, '--fit', 'crop', '--max-tokens', '8', '--json'])).stdout,
    );
    expect(result.promptTokenIds).toEqual(fixture.description.promptIds);
    expect(result.answerTokenIds).toEqual(fixture.description.answerIds.slice(0, 8));
  });
});

describe('bad usage exits with 2', () => {
  it.each([
    [['frobnicate'], /no command "frobnicate"/],
    [['ask', IMAGE], /takes an image and a question/],
    [['ask', IMAGE, ' '], /question is empty/],
    [['ask', IMAGE, 'a', 'b'], /3 arguments/],
    [['ask', IMAGE, 'a', '--bogus'], /--bogus/],
    [['ask', IMAGE, 'a', '--fit', 'squeeze'], /pad, crop/],
    [['ask', IMAGE, 'a', '--device', 'abacus'], /auto, cpu/],
    [['ask', IMAGE, 'a', '--precision', 'q2'], /auto, fp32, fp16, q4/],
    [['ask', IMAGE, 'a', '--max-tokens', '0'], /whole number/],
    [['ask', IMAGE, 'a', '--temperature', 'hot'], /--temperature/],
    [['ask', IMAGE, 'a', '--reduce', 'fastvv:layer=2'], /fastv/],
    [['ask', IMAGE, 'a', '--reduce', 'fastv:layer=2,keep=0'], /keep/],
    [['ask', IMAGE, 'a', '--trace', 'trace.gif'], /\.html, \.json or \.png/],
    [['ask', IMAGE, 'a', '--part', '1,2,3'], /--part 120,40,640,360/],
    [['ask', IMAGE, 'a', '--part', '1,2,0,3'], /--part 120,40,640,360/],
    [['ask', IMAGE, 'a', '--part', '100000,0,3,3'], /nothing of the image in that part/],
    [['ask', path.join(folder, 'absent.png'), 'a'], /no such file/],
    [['inspect', 'a', 'b'], /one folder/],
  ])('%j', async (args, words) => {
    expectRefusal(await fovea(args), 2, words);
  });
});

describe('images', () => {
  const file = (name: string): string => path.join(folder, name);
  const square = { create: { width: 60, height: 40, channels: 3 as const, background: '#3080c0' } };

  beforeAll(async () => {
    const png = await sharp(square).png().toBuffer();
    await writeFile(file('not-an-image.png'), 'this is text');
    await writeFile(file('empty.png'), '');
    const noise = Buffer.from(Uint8Array.from({ length: 200 * 200 * 3 }, (_, i) => (i * 7919) % 251));
    const large = await sharp(noise, { raw: { width: 200, height: 200, channels: 3 } })
      .jpeg()
      .toBuffer();
    await writeFile(file('truncated.jpg'), large.subarray(0, large.length / 2));
    await writeFile(
      file('1x1.png'),
      await sharp({ create: { ...square.create, width: 1, height: 1 } })
        .png()
        .toBuffer(),
    );
    await writeFile(
      file('20000x1.png'),
      await sharp({ create: { ...square.create, width: 20000, height: 1 } })
        .png()
        .toBuffer(),
    );
    const frames = await sharp([png, png, png], { join: { animated: true } })
      .gif()
      .toBuffer();
    await writeFile(file('animated.gif'), frames);
    await writeFile(file('cmyk.jpg'), await sharp(square).toColourspace('cmyk').jpeg().toBuffer());
    await writeFile(file('sixteen-bit.png'), await sharp(square).toColourspace('rgb16').png().toBuffer());
    await writeFile(file('alpha.png'), await sharp(square).ensureAlpha(0.5).png().toBuffer());
    await writeFile(
      file('rotated.jpg'),
      await sharp(square).withMetadata({ orientation: 6 }).jpeg().toBuffer(),
    );
  });

  it.each([
    ['not-an-image.png', /not an image|format/i],
    ['empty.png', /empty/i],
    ['truncated.jpg', /truncated|incomplete|damaged|ends/i],
  ])('%s is refused', async (name, words) => {
    expectRefusal(await ask(file(name)), 2, words);
  });

  it.each([
    ['1x1.png', 1, 1],
    ['20000x1.png', 20000, 1],
    ['animated.gif', 60, 40],
    ['cmyk.jpg', 60, 40],
    ['sixteen-bit.png', 60, 40],
    ['alpha.png', 60, 40],
    ['rotated.jpg', 40, 60],
  ])('%s is answered about, at its upright size', async (name, width, height) => {
    const trace = file(`${name}.json`);
    const outcome = await ask(file(name), '--max-tokens', '2', '--trace', trace);
    expect(outcome.code).toBe(0);
    const { images } = JSON.parse(await readFile(trace, 'utf8')).trace;
    expect([images[0].width, images[0].height]).toEqual([width, height]);
  });
});

describe('broken checkpoints exit with 3', () => {
  async function damaged(name: string, damage: (directory: string) => Promise<unknown>): Promise<Outcome> {
    const directory = path.join(folder, name);
    await cp(fixture.directory, directory, { recursive: true });
    await damage(directory);
    return fovea(['ask', IMAGE, 'What is this?', '--model', directory]);
  }
  const edit = (directory: string, change: (config: Record<string, unknown>) => void): Promise<void> =>
    readFile(path.join(directory, 'config.json'), 'utf8').then((text) => {
      const config = JSON.parse(text) as Record<string, unknown>;
      change(config);
      return writeFile(path.join(directory, 'config.json'), JSON.stringify(config));
    });

  it.each<[string, (directory: string) => Promise<unknown>, RegExp]>([
    ['no config', (directory) => rm(path.join(directory, 'config.json')), /config\.json/],
    ['unknown type', (directory) => edit(directory, (config) => (config.model_type = 'gpt2')), /gpt2/],
    ['no weights', (directory) => rm(path.join(directory, 'model.safetensors')), /safetensors/],
    [
      'cut weights',
      (directory) => truncate(path.join(directory, 'model.safetensors'), 30_000),
      /truncated|short|ends|bytes/i,
    ],
    ['no tokenizer', (directory) => rm(path.join(directory, 'tokenizer.json')), /tokenizer\.json/],
    [
      'wrong shapes',
      (directory) =>
        edit(directory, (config) => ((config.text_config as { vocab_size: number }).vocab_size += 1)),
      /shape/i,
    ],
  ])('%s', async (name, damage, words) => {
    expectRefusal(await damaged(name.replace(' ', '-'), damage), 3, words);
  });

  it('a folder that is not there', async () => {
    expectRefusal(await fovea(['inspect', path.join(folder, 'nowhere')]), 3, /nowhere/);
  });

  it('a missing shard', async () => {
    const sharded = readFixture('clip-mistral-layers-sharded').directory;
    const directory = path.join(folder, 'missing-shard');
    await cp(sharded, directory, { recursive: true });
    await rm(path.join(directory, 'model-00002-of-00003.safetensors'));
    expectRefusal(await fovea(['inspect', directory]), 3, /model-00002-of-00003\.safetensors/);
  });
});

it('a device that is not there exits with 4', async () => {
  const absent = process.platform === 'win32' ? 'coreml' : 'dml';
  expectRefusal(await ask(IMAGE, '--device', absent), 4, /not available/);
});

it('Ctrl+C exits with 130', async () => {
  const args = ['ask', IMAGE, 'Tell me everything.', '--model', fixture.directory, '--max-tokens', '60000'];
  const outcome = await fovea(args, { interruptAtFirstOutput: true });
  expect(outcome.stderr).toMatch(/cancelled/);
  expect(outcome.code).toBe(130);
});

describe('fovea inspect', () => {
  it('tells what a checkpoint is and what a question costs', async () => {
    const outcome = await fovea(['inspect', fixture.directory]);
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(/image tokens/);
    const report = JSON.parse((await fovea(['inspect', fixture.directory, '--json'])).stdout);
    expect(report.imageTokens).toBe(fixture.description.imageTokensPerImage);
    const costs = report.estimates.map((estimate: { prefillMacs: number }) => estimate.prefillMacs);
    expect(costs).toEqual(costs.toSorted((a: number, b: number) => b - a));
    expect(report.precision).toMatchObject({ precision: 'fp32', reason: expect.stringContaining('small') });
    const [exact, quantized] = report.precisions;
    expect([exact.precision, quantized.precision]).toEqual(['fp32', 'q4']);
    expect(quantized.readPerToken).toBeLessThan(exact.readPerToken);
    expect(quantized.mappedBytes).toBeLessThan(exact.mappedBytes);
  });

  it('counts the tiles of a screenshot for a model that cuts pictures', async () => {
    const { directory } = readFixture('llava-next-clip-llama');
    const outcome = await fovea(['inspect', directory]);
    // Tiles of 4 x 4 patches: 16 of the overview, and 4 rows of 8 with a newline each.
    expect(outcome.stdout).toMatch(/52 for an image of 1920 x 1080 \(an overview and 4 tiles\)/);
    const report = JSON.parse((await fovea(['inspect', directory, '--json'])).stdout);
    expect([report.imageTokens, report.towerInputs]).toEqual([52, 5]);
    for (const { memoryBytes, cacheBytes, firstTokenMilliseconds } of report.estimates) {
      expect(memoryBytes).toBeGreaterThan(cacheBytes);
      expect(firstTokenMilliseconds).toBeGreaterThan(0);
    }
  });

  it('predicts for a picture that is given', async () => {
    const { directory } = readFixture('llava-next-clip-llama');
    const tall = path.join(folder, 'tall.png');
    const create = { width: 30, height: 90, channels: 3 as const, background: 'white' };
    await writeFile(tall, await sharp({ create }).png().toBuffer());
    const inspected = async (...args: string[]) =>
      JSON.parse((await fovea(['inspect', directory, ...args, '--json'])).stdout);
    const [given, usual] = [await inspected('--image', tall), await inspected()];
    expect(given.image).toEqual({ width: 30, height: 90 });
    expect(given.imageTokens).not.toBe(usual.imageTokens);
    expectRefusal(await fovea(['inspect', directory, '--image', `${tall}.nowhere`]), 2, /nowhere/);
  });
});

it('help names every option and method', async () => {
  const { stdout, code } = await fovea(['help']);
  expect(code).toBe(0);
  for (const word of [
    '--model',
    '--reduce',
    '--trace',
    '--precision',
    '130',
    ...REDUCTIONS.flatMap(({ description }) => [description.id, description.summary]),
  ]) {
    expect(stdout).toContain(word);
  }
});

it('asks with 4-bit weights, says so, and converts them once', async () => {
  const args = ['--precision', 'q4', '--json', '--max-tokens', '3'];
  const answers: string[] = [];
  for (let i = 0; i < 2; i++) {
    const outcome = await ask(IMAGE, ...args);
    expect(outcome.code, outcome.stderr).toBe(0);
    const { precision, answer } = JSON.parse(outcome.stdout);
    expect(precision).toBe('q4');
    answers.push(answer);
  }
  expect(answers[1]).toBe(answers[0]);
});

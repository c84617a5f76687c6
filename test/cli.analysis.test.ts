import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { REAL_SCREENS, ROOT } from '../bench/evaluationSet';
import { readFixture } from '../server/llava/testing/fixtures';
import { temporaryDirectory } from '../server/llava/testing/temporaryDirectory';
import type { AttentionAnalysis } from '../server/protocol';
import { runCommandLine, type Outcome } from './commandLine';

const folder = temporaryDirectory();
const fixture = readFixture('clip-llama');
const IMAGE = path.join(fixture.directory, 'reference', 'image-0.png');
const QUESTION = fixture.description.question;
const MODEL = ['--model', fixture.directory, '--fit', 'crop', '--max-tokens', '8'];

const fovea = (...args: string[]): Promise<Outcome> => runCommandLine(args, folder);

describe('fovea analyze', () => {
  it('--json prints one object: shares by layer and step, the tower, and the experiment', async () => {
    const outcome = await fovea('analyze', IMAGE, QUESTION, ...MODEL, '--json');
    expect(outcome.stderr).toBe('');
    expect(outcome.code).toBe(0);
    const analysis = JSON.parse(outcome.stdout) as AttentionAnalysis;
    expect(analysis.answerTokens.map(({ id }) => id)).toEqual(fixture.description.answerIds.slice(0, 8));
    expect(analysis.layers).toHaveLength(4);
    expect(analysis.answerLayers).toHaveLength(4);
    expect(analysis.steps).toHaveLength(8);
    expect(analysis.removal.map(({ layer }) => layer)).toEqual([0, 1, 2, 3, 4]);
    expect(analysis.vision[0].shares).toHaveLength(fixture.description.imageTokensPerImage);
  });

  it('prints tables for people', async () => {
    const { stdout, code } = await fovea('analyze', IMAGE, QUESTION, ...MODEL);
    expect(code).toBe(0);
    for (const heading of ['By decoder layer', 'By answer token', 'In the vision tower']) {
      expect(stdout).toContain(`== ${heading}`);
    }
    expect(stdout).toMatch(/^Layer +System +Image +Instruction +Output$/m);
    expect(stdout).toMatch(/^K +Per token \(nats\)/m);
    expect(stdout).not.toMatch(/NaN|undefined/);
  });

  it('--html writes a page of charts that needs nothing else', async () => {
    const file = path.join(folder, 'attention.html');
    const { stdout, stderr, code } = await fovea('analyze', IMAGE, QUESTION, ...MODEL, '--html', file);
    expect([stdout, code]).toEqual(['', 0]);
    expect(stderr).toContain(file);
    const page = await readFile(file, 'utf8');
    expect(page.match(/<svg /g)).toHaveLength(9);
    expect(page).toContain('data:image/png;base64,');
  });

  it.each([
    [[IMAGE], /takes an image and a question/],
    [[IMAGE, QUESTION, '--html', 'page.pdf'], /ends in \.html/],
    [[IMAGE, QUESTION, '--reduce', 'fastv'], /--reduce/],
    [['nowhere.png', QUESTION, ...MODEL], /no such file/],
  ])('refuses %j', async (args, words) => {
    const { stderr, stdout, code } = await fovea('analyze', ...args);
    expect(stderr).toMatch(words);
    expect([stdout, code]).toEqual(['', 2]);
  });
});

describe('fovea compare', () => {
  const SPECS = ['none', 'fastv:layer=1,keep=0.25', 'uniform:keep=4'];
  const reduce = SPECS.flatMap((spec) => ['--reduce', spec]);

  it('--json answers under every reduction, in order, as fovea ask does', async () => {
    const outcome = await fovea('compare', IMAGE, QUESTION, ...MODEL, ...reduce, '--json');
    expect(outcome.code).toBe(0);
    const { runs, question } = JSON.parse(outcome.stdout);
    expect(question).toBe(QUESTION);
    expect(runs.map((run: { reduction: string }) => run.reduction.split(':')[0])).toEqual([
      'none',
      'fastv',
      'uniform',
    ]);
    for (const [index, spec] of SPECS.entries()) {
      const alone = await fovea('ask', IMAGE, QUESTION, ...MODEL, '--reduce', spec, '--json');
      const { answerTokenIds, imageTokens, cacheBytes, prefillMacs } = JSON.parse(alone.stdout);
      expect(runs[index]).toMatchObject({ answerTokenIds, imageTokens, cacheBytes, prefillMacs });
    }
  });

  it('prints costs and answers, and says which method this model cannot do', async () => {
    const args = [...MODEL, ...reduce, '--reduce', 'llamavid'];
    const { stdout, code } = await fovea('compare', IMAGE, QUESTION, ...args);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^none +36 of 36 .* \(100 %\)$/m);
    expect(stdout).toMatch(/^uniform:keep=4 +4 of 36 /m);
    expect(stdout).toMatch(/^llamavid: .*cannot be used with this model/m);
  });

  it('warns of what a picture or a reduction probably cost, once', async () => {
    // Text far too small for a tower that sees 48 x 48 pixels: of the picture, whatever the reduction.
    const screenshot = path.join(REAL_SCREENS, 'images', 'vscode-editor.png');
    const { stdout } = await fovea('compare', screenshot, QUESTION, ...MODEL, '--fit', 'pad', ...reduce);
    expect(stdout.match(/^warning: The text is about .* px high/gm)).toHaveLength(1);
    // A dialog whose text the embedded model can read; 32 patches cannot carry it.
    const dialog = path.join(ROOT, 'media', 'samples', 'dialog.png');
    const few = ['--reduce', 'none', '--reduce', 'uniform:keep=32'];
    const compared = await fovea('compare', dialog, 'Which buttons are there?', ...few);
    expect(compared.stdout.match(/^warning: .*$/gm)).toEqual([
      expect.stringMatching(/^warning: uniform:keep=32: Fine text is likely lost/),
    ]);
  });

  it('--html writes one page with all runs', async () => {
    const file = path.join(folder, 'comparison.html');
    const { stderr, code } = await fovea('compare', IMAGE, QUESTION, ...MODEL, ...reduce, '--html', file);
    expect(code).toBe(0);
    expect(stderr).toContain(file);
    const page = await readFile(file, 'utf8');
    for (const spec of SPECS) expect(page).toContain(`"reduction":"${spec}`);
  });

  it.each([
    [['--reduce', 'none'], /at least two --reduce/],
    [['--reduce', 'none', '--reduce', 'nothing'], /nothing/],
  ])('refuses %j', async (args, words) => {
    const { stderr, stdout, code } = await fovea('compare', IMAGE, QUESTION, ...args);
    expect(stderr).toMatch(words);
    expect([stdout, code]).toEqual(['', 2]);
  });

  it('fails where no reduction can be used', async () => {
    const args = ['--reduce', 'llamavid', '--reduce', 'llamavid:grid=2'];
    const { stderr, stdout, code } = await fovea('compare', IMAGE, QUESTION, ...MODEL, ...args);
    expect(stderr).toMatch(/cannot be used with this model/);
    expect([stdout, code]).toEqual(['', 2]);
  });
});

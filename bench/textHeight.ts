/**
 * `npm run eval:text-height`: how often the embedded model reads text of which height, and how well the warning about small text foresees
 * that it does not. Writes docs/results/text-height.md.
 *
 *   node dist/textHeight.js [--model FOLDER] [--questions N]
 *
 * `--questions` is how many of the held-out questions are asked, each at every size.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';

import sharp from 'sharp';

import { LlavaModel } from '../server/llava/model';
import { readableHeight } from '../server/llava/textHeight';
import { accuracy, isExact } from './accuracy';
import {
  evenly,
  type EvaluationQuestion,
  REAL_SCREENS,
  readEvaluationSet,
  ROOT,
  SETS,
} from './evaluationSet';
import { TEXT_TYPES } from './reduction/summary';

/** The held-out screens are shown at these shares of their size, in the middle of a larger empty screen. */
const SCALES = [1, 0.8, 0.65, 0.5, 0.35];
/** Edges of the rows of the table, in pixels at the model. */
const EDGES = [0, 3, 4, 5, 6, 7, 8, 10, Infinity];

interface Answer {
  /** Undefined: no text was found. */
  readonly seen: number | undefined;
  readonly warned: boolean;
  readonly right: boolean;
  /** It says that it cannot read this, in the words that it has learnt. */
  readonly refused: boolean;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: path.join(ROOT, 'model') },
      questions: { type: 'string', default: '160' },
    },
  });
  const model = await LlavaModel.open(values.model);
  const ask = async (bytes: Uint8Array, { question, answer }: EvaluationQuestion): Promise<Answer> => {
    const result = await model.ask({ images: [bytes], question, fit: 'pad' });
    return {
      seen: result.textHeight?.seen,
      warned: result.warning?.code === 'image.small-text',
      right: isExact(result.answer, answer),
      refused: result.answer.includes('too small to read'),
    };
  };

  const real: Answer[] = [];
  const screens = readEvaluationSet(REAL_SCREENS);
  for (const question of screens.questions.filter(({ type }) => TEXT_TYPES.has(type)))
    real.push(await ask(await readFile(path.join(screens.folder, question.image)), question));
  process.stderr.write(`${real.length} questions about real screenshots\n`);

  const scaled: Answer[][] = SCALES.map(() => []);
  const words = readEvaluationSet(SETS.words);
  const aboutText = words.questions.filter(({ type }) => TEXT_TYPES.has(type));
  for (const question of evenly(aboutText, Number(values.questions))) {
    const bytes = await readFile(path.join(words.folder, question.image));
    for (const [index, scale] of SCALES.entries())
      scaled[index].push(await ask(await onLargerScreen(bytes, scale), question));
  }
  const { name, hash } = model.summary;
  const patchSize = model.checkpoint.config.vision.patchSize;
  await model.dispose();

  const file = path.join('docs', 'results', 'text-height.md');
  const report = render(`${name}, ${hash.slice(0, 12)}`, readableHeight(patchSize), real, scaled);
  await writeFile(path.join(ROOT, file), report);
  process.stdout.write(`${file}\n`);
}

/** The picture in the middle of a larger square in the colour of its corner, so that the model sees it at this share of its size. */
async function onLargerScreen(bytes: Uint8Array, scale: number): Promise<Uint8Array> {
  if (scale === 1) return bytes;
  const picture = sharp(bytes).removeAlpha();
  const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true });
  const side = Math.round(Math.max(info.width, info.height) / scale);
  const left = Math.floor((side - info.width) / 2);
  const top = Math.floor((side - info.height) / 2);
  const [r, g, b] = data;
  return sharp(data, { raw: { width: info.width, height: info.height, channels: 3 } })
    .extend({
      left,
      top,
      right: side - info.width - left,
      bottom: side - info.height - top,
      background: { r, g, b },
    })
    .png()
    .toBuffer();
}

function render(model: string, readable: number, real: readonly Answer[], scaled: Answer[][]): string {
  const all = scaled.flat();
  const rows = EDGES.slice(0, -1).map((low, index) => {
    const high = EDGES[index + 1];
    const within = ({ seen }: Answer): boolean => seen !== undefined && seen >= low && seen < high;
    const label = high === Infinity ? `${low} and more` : `${low} to ${high}`;
    return `| ${label} | ${share(real.filter(within), isRight)} | ${share(all.filter(within), isRight)} |`;
  });
  const quality = (answers: readonly Answer[]): string[] => [
    share(answers.filter(isWarned), (answer) => !answer.right),
    share(
      answers.filter((answer) => !answer.right),
      isWarned,
    ),
    share(answers.filter(isRight), isWarned),
  ];
  const [realQuality, scaledQuality] = [quality(real), quality(all)];
  const lines = [
    'of the warnings, the answer was wrong',
    'of the wrong answers, warned',
    'of the right answers, warned',
  ];
  return `# Text that is too small for the model

Made by \`npm run eval:text-height\` with ${model}: ${real.length} questions whose answer is text of one of the real screenshots, and ${scaled[0].length} about held-out synthetic
screens, each at ${SCALES.length} sizes (the screen in the middle of a larger empty one, which is what a window on a large screenshot is). Right is right to the letter.

The height of text is estimated from the picture alone (\`server/llava/textHeight.ts\`) and multiplied by the scale at which the vision tower sees the picture.

| px at the model | real screenshots right | held-out screens right |
| --- | --- | --- |
${rows.join('\n')}
| no text found | ${share(real.filter(hasNone), isRight)} | ${share(all.filter(hasNone), isRight)} |

A warning is given below ${readable} px, three quarters of a patch: a bound that follows from the model's patches, not from its weights.

| | real screenshots | held-out screens |
| --- | --- | --- |
${lines.map((line, index) => `| ${line} | ${realQuality[index]} | ${scaledQuality[index]} |`).join('\n')}

| held-out screens at | right | says that the text is too small | warned |
| --- | --- | --- | --- |
${SCALES.map((scale, index) => `| ${(100 * scale).toFixed(0)} % | ${share(scaled[index], isRight)} | ${share(scaled[index], hasRefused)} | ${share(scaled[index], isWarned)} |`).join('\n')}

What it does not see: text on pictures and patterns, at an angle, or of letters wider than about 30 px of the picture; text in a colour that differs from its ground hardly in green; whether
the question is about the text at all, or about a heading that is larger than the rest. Pictures of fewer than three lines of text, and photographs, get no warning. An answer may be wrong
for many other reasons: most wrong answers about real screenshots are about text that is large enough.
`;
}

const isRight = ({ right }: Answer): boolean => right;
const isWarned = ({ warned }: Answer): boolean => warned;
const hasRefused = ({ refused }: Answer): boolean => refused;
const hasNone = ({ seen }: Answer): boolean => seen === undefined;

function share(part: readonly Answer[], test: (answer: Answer) => boolean): string {
  if (part.length === 0) return '-';
  const { right, of, share: value } = accuracy({ right: part.filter(test).length, of: part.length });
  return `${(100 * value).toFixed(0)} % (${right} of ${of})`;
}

void main();

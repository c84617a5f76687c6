import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';

import { printPieces } from './cli/ask';
import { endQuietlyOnClosedPipe } from './cli/closedPipe';
import { embeddedModelDirectory } from './cli/embeddedModel';
import { bytes, milliseconds } from './cli/format';
import { writeRuns } from './cli/trace';
import { toErrorData } from './llava/errors';
import { LlavaModel } from './llava/model';
import type { AnswerResult } from './protocol';

/** What `npm start` asks about which picture. */
interface Demonstration {
  readonly image: string;
  readonly questions: readonly string[];
}

const COMPARED = ['none', 'fastv:layer=2,keep=0.5', 'mmr:keep=128', 'visionzip:dominant=108,contextual=20'];

/** `npm start`: two questions about a sample screenshot, with all tokens, FastV, MMR and VisionZip, on the embedded model. */
async function main(): Promise<void> {
  const root = path.join(__dirname, '..');
  const samples = path.join(root, 'media', 'samples');
  const demonstration = JSON.parse(await readFile(path.join(samples, 'demo.json'), 'utf8')) as Demonstration;
  const file = path.join(samples, demonstration.image);
  const image = await readFile(file);
  const model = await LlavaModel.open(embeddedModelDirectory());
  const { summary, device } = model;
  process.stdout.write(
    `${summary.name}, ${(summary.parameters / 1e6).toFixed(1)} M parameters, on ${device}\n`,
  );
  process.stdout.write(`${path.relative(process.cwd(), file)}\n`);
  const output = path.join(root, 'out');
  await mkdir(output, { recursive: true });

  try {
    for (const [index, question] of demonstration.questions.entries()) {
      process.stdout.write(`\n? ${question}\n`);
      const results: AnswerResult[] = [];
      for (const reduction of COMPARED) {
        process.stdout.write(`  ${reduction.padEnd(38)} `);
        const result = await model.ask(
          { images: [image], question, reduction },
          { onToken: printPieces(), reuse: false },
        );
        results.push(result);
        const { imageTokens, timings, cacheBytes } = result.costs;
        const left = imageTokens.perStage.at(-1) ?? imageTokens.atDecoder;
        process.stdout.write(
          `\n    ${left} of ${imageTokens.total} image tokens` +
            ` · vision ${milliseconds(timings.vision)} · prefill ${milliseconds(timings.prefill)}` +
            ` · decode ${milliseconds(timings.generate)} · cache ${bytes(cacheBytes)}\n`,
        );
        if (result.warning) process.stdout.write(`    ${result.warning.message}\n`);
      }
      const page = await writeRuns(path.join(output, `question-${index + 1}.html`), results, [image]);
      process.stdout.write(`  the tokens: ${path.relative(process.cwd(), page)}\n`);
    }
  } finally {
    await model.dispose();
  }
}

endQuietlyOnClosedPipe();

main().catch((thrown: unknown) => {
  const error = toErrorData(thrown);
  process.stderr.write(`${error.message}\n${error.why ? `${error.why}\n` : ''}${error.nextStep}\n`);
  process.exitCode = 1;
});

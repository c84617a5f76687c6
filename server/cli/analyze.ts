import { analysisPage } from '../charts/analysisPage';
import { attentionFigures } from '../charts/attention';
import type { AttentionAnalysis } from '../protocol';
import type { AnalyzeCommand } from './arguments';
import { readImage } from './imageFile';
import { openModel } from './openModel';
import { progressLine } from './progress';
import { textTable } from './table';
import { exportedPictures, writeOutput } from './trace';

/** One row per answer token and one column per layer: too wide for a terminal, whole in --json and --html. */
const NOT_IN_TEXT = 'image-shares';

/** `fovea analyze`: where the model looks while it answers, as tables, one JSON object or a page of charts. */
export async function analyze(command: AnalyzeCommand, signal: AbortSignal): Promise<void> {
  const image = await readImage(command);
  const progress = progressLine();
  const model = await openModel(command, signal, progress);
  try {
    const analysis = await model.analyze(
      {
        images: [image],
        question: command.question,
        system: command.system,
        fit: command.fit,
        maxTokens: command.maxTokens,
      },
      { signal, onProgress: progress.show },
    );
    progress.clear();
    if (command.json) process.stdout.write(`${JSON.stringify(analysis)}\n`);
    else if (command.htmlPath === undefined) process.stdout.write(render(analysis));
    if (command.htmlPath !== undefined) {
      const pictures = await exportedPictures([image]);
      const page = analysisPage(
        analysis,
        pictures.map(({ png }) => `data:image/png;base64,${Buffer.from(png).toString('base64')}`),
      );
      process.stderr.write(`page: ${await writeOutput(command.htmlPath, page)}\n`);
    }
  } finally {
    progress.clear();
    await model.dispose();
  }
}

function render(analysis: AttentionAnalysis): string {
  const parts = [`answer: ${analysis.answer}`];
  const printed = new Set<object>();
  for (const { title, figures } of attentionFigures(analysis)) {
    parts.push(`== ${title}`);
    for (const figure of figures) {
      const words = `${figure.title}\n${figure.finding}`;
      const { columns, rows } = figure.table;
      // Several charts may share one table.
      const again = printed.has(figure.table) || figure.id === NOT_IN_TEXT;
      parts.push(again ? words : `${words}\n${textTable(columns, rows)}`);
      printed.add(figure.table);
    }
  }
  return `${parts.join('\n\n')}\n`;
}

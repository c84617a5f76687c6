/** The table of "Compare Reductions...", as Markdown. Pure, so that its escaping can be tested. */
import type { AnswerResult } from '../server/protocol';

/** Everything that Markdown or HTML could read as more than text. */
const MARKUP = /[\\`*_{}[\]()<>#+\-.!|~&:@/]/g;

/** Text of files, users and models in a Markdown table: shown as it is, never links, pictures or HTML. */
export function escapeMarkdown(text: string): string {
  return text.replace(/\s+/g, ' ').replace(MARKUP, (character) => `&#${character.charCodeAt(0)};`);
}

/** One row per run, in the order in which they ran; times of cached answers are those of the run that made them. */
export function comparisonMarkdown(
  imageName: string,
  question: string,
  results: readonly AnswerResult[],
): string {
  const heading = ['Reduction', 'Answer', 'Image tokens', 'First token', 'Total', 'Cache', 'Prefill'];
  const alignment = ['---', '---', '---:', '---:', '---:', '---:', '---:'];
  const rows = results.map(({ reduction, answer, costs }) => [
    escapeMarkdown(reduction),
    escapeMarkdown(answer),
    tokens(costs.imageTokens),
    `${Math.round(costs.timings.firstToken)} ms`,
    `${Math.round(costs.timings.total)} ms`,
    `${(costs.cacheBytes / 1e6).toFixed(2)} MB`,
    `${(costs.prefillMacs / 1e9).toFixed(2)} GMAC (${Math.round((100 * costs.prefillMacs) / costs.prefillMacsUnreduced)} %)`,
  ]);
  const table = [heading, alignment, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const model = results[0]
    ? `${escapeMarkdown(results[0].model.name)} on ${escapeMarkdown(results[0].device)}`
    : '';
  return `# ${escapeMarkdown(imageName)}\n\n${escapeMarkdown(question)}\n\n${table}\n\n${model}\n`;
}

/** All, at the decoder's entry, and after the last stage, where these differ: `576 → 288 → 64`. */
function tokens({ total, atDecoder, perStage }: AnswerResult['costs']['imageTokens']): string {
  const steps = [total, atDecoder, perStage.at(-1) ?? atDecoder];
  return steps.filter((count, index) => index === 0 || count !== steps[index - 1]).join(' → ');
}

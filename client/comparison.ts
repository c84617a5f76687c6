/** The table of "Compare Reductions...", as Markdown. Pure, so that its escaping can be tested. */
import type { AnswerResult, ErrorData } from '../server/protocol';

/** Everything that Markdown or HTML could read as more than text. */
const MARKUP = /[\\`*_{}[\]()<>#+\-.!|~&:@/]/g;

/** Text of files, users and models in a Markdown table: shown as it is, never links, pictures or HTML. */
export function escapeMarkdown(text: string): string {
  return text.replace(/\s+/g, ' ').replace(MARKUP, (character) => `&#${character.charCodeAt(0)};`);
}

/** One question under one reduction. */
export interface ComparedRun {
  /** As it was asked for; the canonical spec is in the result. */
  reduction: string;
  outcome: { result: AnswerResult } | { error: ErrorData };
}

/** One row per run, in the order in which they ran; one that failed says why. */
export function comparisonMarkdown(
  imageName: string,
  question: string,
  runs: readonly ComparedRun[],
): string {
  const heading = ['Reduction', 'Answer', 'Image tokens', 'First token', 'Cache', 'Prefill work'];
  const alignment = ['---', '---', '---:', '---:', '---:', '---:'];
  const rows = runs.map(({ reduction, outcome }) =>
    'result' in outcome
      ? answeredRow(outcome.result)
      : [escapeMarkdown(reduction), reason(outcome.error), ...BLANK],
  );
  const table = [heading, alignment, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const answered = runs.flatMap(({ outcome }) => ('result' in outcome ? [outcome.result] : []))[0];
  const where = answered
    ? `${escapeMarkdown(answered.model.name)} on ${escapeMarkdown(answered.device)}`
    : '';
  return `# ${escapeMarkdown(imageName)}\n\n${escapeMarkdown(question)}\n\n${table}\n\n${where}\n`;
}

/** The four columns of costs, of a run that has none. */
const BLANK = Array.from({ length: 4 }, () => '');

function reason({ message, nextStep }: ErrorData): string {
  return `*${escapeMarkdown(`${message} ${nextStep}`)}*`;
}

function answeredRow({ reduction, answer, costs }: AnswerResult): string[] {
  return [
    // A spec may have spaces after its marks; a narrow table breaks there.
    escapeMarkdown(reduction.replace(/[:,+]/g, '$& ')),
    escapeMarkdown(answer),
    tokens(costs.imageTokens),
    `${Math.round(costs.timings.firstToken)}\u00a0ms`,
    `${(costs.cacheBytes / 1e6).toFixed(2)}\u00a0MB`,
    `${Math.round((100 * costs.prefillMacs) / costs.prefillMacsUnreduced)}\u00a0%`,
  ];
}

/** All, at the decoder's entry, and after the last stage, where these differ: `576 → 288 → 64`. */
function tokens({ total, atDecoder, perStage }: AnswerResult['costs']['imageTokens']): string {
  const steps = [total, atDecoder, perStage.at(-1) ?? atDecoder];
  return steps.filter((count, index) => index === 0 || count !== steps[index - 1]).join('\u00a0→\u00a0');
}

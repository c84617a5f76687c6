import { describeRange, formatReduction, parseReduction } from './parse';
import type { ReductionDescription, ReductionParameter, ReductionPlace } from './reduction';
import { REDUCTIONS } from './registry';

const PLACES: Readonly<Record<ReductionPlace, string>> = {
  pixels: 'before the vision tower',
  vision: 'after the vision tower, before the projector',
  embeddings: 'after the projector, before the decoder',
  layer: 'inside the decoder, while the prompt is read',
  step: 'while the answer is written',
};

const INTRODUCTION = `# Visual-token reductions

<!-- Made from the registry (server/llava/reduction/registry.ts). Change the descriptions there, then run:
     UPDATE_DOCS=1 npx vitest run server/llava/reduction/methodsDocument.test.ts -->

A LLaVA model turns every picture into hundreds of image tokens. A reduction lets fewer of them go on. Every method runs in the same engine on
any checkpoint that it supports, and the token view shows what became of every patch.

## How a reduction is written

\`none\`, or methods joined by \`+\`; each is an id, optionally followed by \`:\` and parameters:

\`\`\`
fovea ask screen.png "Which button is highlighted?" --reduce visionzip:dominant=54,contextual=10+fastv:layer=2,keep=0.5
\`\`\`

- A **budget** is a number of tokens (\`64\`), a fraction (\`0.5\` or \`50%\`), or \`all\`. \`1\` is one token, not everything. A fraction is rounded, halves up, and
  never means no token at all. A budget that is not smaller than what is there changes nothing.
- Where a method's budget allows it, \`auto\` looks at the picture: as many tokens as patches differ from their neighbours, times a factor that was measured (see
  [results/reduction.md](results/reduction.md)). The trace says what was chosen and why. In a photograph nearly everything differs, and nearly everything stays.
- Methods act in the order of their places, whatever the order in which they are written; at one place in the order written. Only one
  method can choose among all patches (before or right after the tower).
- Text is never dropped. Kept image tokens keep their order. Tokens dropped inside the decoder leave gaps: the others stay at their original positions.
- Budgets before the decoder count per picture; budgets inside the decoder count all image tokens of the prompt.
- **Pictures in tiles** (LLaVA v1.6, OneVision): a budget is for the whole picture, overview and details together. Methods that act after the
  vision tower see one tile at a time, and a budget is split among the tiles in proportion to their patches, so that it is met exactly; \`pool\` makes its cells
  in every tile. Methods that act after the projector see the tokens of all tiles, those inside the decoder all image tokens. Patches of mere
  padding are no tokens. Where the model shrinks its details (OneVision), a method sees the shrunk tokens.
- A **newline** (the token that ends a row of details) stays as long as a token of its row does, and does not count towards a budget before the
  decoder; inside the decoder it is an image token like any other. What is left of the details goes on row by row, a merged token in the place of the
  patch under which it goes on.
- Where two tokens rank the same, the earlier one is kept. The same question on the same picture gives the same choice.
- \`random\`, \`uniform\`, \`pool\` and \`downscale\` are **controls**: they choose without looking. A method that does not beat them at the same number of tokens gains nothing by
  its choice. \`random\`, \`uniform\` and \`pool\` act where VisionZip acts, so that they can be compared with it directly.
`;

/** docs/methods.md, from the registry. */
export function methodsDocument(): string {
  return [INTRODUCTION, overview(), ...REDUCTIONS.map(({ description }) => section(description))].join('\n');
}

function overview(): string {
  const rows = REDUCTIONS.map(({ description: { id, summary, places } }) =>
    row([`[\`${id}\`](#${id})`, summary, places.map((place) => PLACES[place]).join('; ')]),
  );
  return table(['id', 'what it does', 'where it acts'], rows);
}

function section(description: ReductionDescription): string {
  const { id, name, details, paper, places, needs, control, parameters } = description;
  const facts = [
    `- Acts ${places.map((place) => PLACES[place]).join(', and ')}.`,
    ...(control ? ['- A control.'] : []),
    ...(needs.includes('heads')
      ? ['- Needs trained heads beside the model; without them it is refused.']
      : []),
    ...(needs.includes('class-token') ? ['- Needs a vision tower with a CLS token.'] : []),
    ...(paper ? [`- ${paper}.`] : []),
    `- In full: \`${formatReduction(parseReduction(id))}\``,
  ];
  const rows = parameters.map((parameter) =>
    row([
      `\`${parameter.name}\``,
      range(parameter),
      `\`${String(parameter.default)}\``,
      parameter.description,
    ]),
  );
  return [
    `## ${id}`,
    `**${name}.** ${details}`,
    facts.join('\n'),
    ...(rows.length > 0 ? [table(['parameter', 'values', 'default', 'meaning'], rows)] : []),
  ].join('\n\n');
}

function range(parameter: ReductionParameter): string {
  return parameter.type === 'choice'
    ? parameter.choices.map((choice) => `\`${choice}\``).join(', ')
    : describeRange(parameter);
}

function table(head: readonly string[], rows: readonly string[]): string {
  return [row(head), row(head.map(() => '---')), ...rows].join('\n') + '\n';
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

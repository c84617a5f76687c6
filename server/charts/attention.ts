import type { AttentionAnalysis, RemovalPoint, TokenType, TypeShares, VisionAttention } from '../protocol';
import { formatCount, visibleText } from '../traceView/wording';
import { heatMap } from './heatMap';
import { lineChart, type LineSeries, type Marker } from './lineChart';
import { pictureMap } from './pictureMap';
import { stackedColumns } from './stackedColumns';
import { CHART_COLORS } from './theme';

/** A table that says in numbers what a chart shows. The first column names the row. */
export interface FigureTable {
  columns: string[];
  rows: string[][];
}

/** A chart with everything that a reader needs beside it. All texts are plain and untrusted; `svg` is markup and safe. */
export interface Figure {
  id: string;
  title: string;
  /** What is measured, in one or two sentences. */
  explanation: string;
  /** What it says about this question. */
  finding: string;
  svg: string;
  table: FigureTable;
}

export interface FigureGroup {
  title: string;
  figures: Figure[];
}

const TYPES: readonly { type: TokenType; name: string; color: string; marker: Marker }[] = [
  { type: 'system', name: 'System', color: CHART_COLORS.series[0], marker: 'circle' },
  { type: 'image', name: 'Image', color: CHART_COLORS.series[1], marker: 'square' },
  { type: 'instruction', name: 'Instruction', color: CHART_COLORS.series[2], marker: 'triangle' },
  { type: 'output', name: 'Output', color: CHART_COLORS.series[3], marker: 'diamond' },
];

/** Longest token text on an axis, and the most tokens that are named there. */
const AXIS_TEXT = 9;
const AXIS_TOKENS = 14;

/**
 * All charts of an analysis.
 * @param pictures `data:` URLs of the images, in the order of the prompt.
 */
export function attentionFigures(
  analysis: AttentionAnalysis,
  pictures: readonly (string | undefined)[] = [],
): FigureGroup[] {
  return [
    {
      title: 'By decoder layer',
      figures: [layerShares(analysis), layerEfficiency(analysis), removalFigure(analysis)],
    },
    {
      title: 'By answer token',
      figures: [stepShares(analysis), stepEfficiency(analysis), imageShareMap(analysis)],
    },
    {
      title: 'In the vision tower',
      figures: analysis.vision.flatMap((vision, image) =>
        towerFigures(analysis, vision, image, pictures[image]),
      ),
    },
  ].filter(({ figures }) => figures.length > 0);
}

/** `12.3 %`: three digits, whatever the size; very small ones as `4.7·10⁻⁷ %`. */
export function percent(share: number): string {
  const value = 100 * share;
  if (value === 0 || Math.abs(value) >= 1e-4) return `${Number(value.toPrecision(3))}\u00a0%`;
  const [digits, power] = value.toExponential(1).split('e');
  const factor = Number(digits) === 1 ? '' : `${Number(digits)}·`;
  return `${factor}10${superscript(power)}\u00a0%`;
}

function superscript(power: string): string {
  const digits = [...String(Number(power))].map((sign) => (sign === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(sign)]));
  return digits.join('');
}

/** For sentences. */
function roughPercent(share: number): string {
  if (share > 0 && share < 0.0005) return 'less than 0.1\u00a0%';
  return `${Number((100 * share).toPrecision(share < 0.1 ? 1 : 2))}\u00a0%`;
}

// ------------------------------------------------------------------------------------------ types of tokens

function layerShares({ layers, answerLayers }: AttentionAnalysis): Figure {
  const tokens = layers[0].image.tokens;
  const all = TYPES.reduce((sum, { type }) => sum + layers[0][type].tokens, 0);
  const shares = answerLayers.map((layer) => layer.image.share);
  const image = mean(shares);
  const [least, most] = [indexOfLeast(shares), indexOfLeast(shares.map((share) => -share))];
  return {
    id: 'layer-shares',
    title: 'Attention share by decoder layer',
    explanation:
      'Where the model looks when it chooses the tokens of its answer, mean over heads and answer tokens. System is the text before the picture, instruction the text behind it, output the answer so far.',
    finding:
      `The ${formatCount(tokens)} image tokens are ${roughPercent(tokens / all)} of the prompt and get ${roughPercent(image)} of the attention on average: ` +
      `most in layer ${most} (${roughPercent(shares[most])}), least in layer ${least} (${roughPercent(shares[least])}).`,
    svg: sharesChart('Attention share by decoder layer', answerLayers, layerPlaces(layers.length)),
    table: typeTable('Layer', layerPlaces(layers.length).names, answerLayers, 'share'),
  };
}

function layerEfficiency({ answerLayers: layers }: AttentionAnalysis): Figure {
  const [system, image] = (['system', 'image'] as const).map((type) =>
    mean(layers.map((shares) => shares[type].efficiency)),
  );
  return {
    id: 'layer-efficiency',
    title: 'Attention per token by decoder layer',
    explanation:
      'The share of each type divided by the number of its tokens ("efficiency"), on a logarithmic axis: how much one token of the type gets.',
    finding: efficiencyWords(system, image),
    svg: efficiencyChart('Attention per token by decoder layer', layers, layerPlaces(layers.length)),
    table: typeTable('Layer', layerPlaces(layers.length).names, layers, 'efficiency'),
  };
}

function stepShares(analysis: AttentionAnalysis): Figure {
  const { steps } = analysis;
  const places = tokenPlaces(analysis);
  const [first, last] = [steps[0].image.share, steps[steps.length - 1].image.share];
  return {
    id: 'step-shares',
    title: 'Attention share by answer token',
    explanation:
      'Where the position that chooses each answer token looks, mean over heads and layers. Output is the answer so far.',
    finding:
      steps.length === 1
        ? `The only answer token gives the image ${roughPercent(first)} of its attention.`
        : `The image gets ${roughPercent(first)} of the attention at the first answer token and ${roughPercent(last)} at the last.`,
    svg: sharesChart('Attention share by answer token', steps, places),
    table: typeTable('Answer token', places.long, steps, 'share'),
  };
}

function stepEfficiency(analysis: AttentionAnalysis): Figure {
  const { steps } = analysis;
  const places = tokenPlaces(analysis);
  const [output, image] = (['output', 'image'] as const).map((type) =>
    mean(steps.slice(1).map((shares) => shares[type].efficiency)),
  );
  return {
    id: 'step-efficiency',
    title: 'Attention per token by answer token',
    explanation: 'The same, divided by the number of tokens of the type, on a logarithmic axis.',
    finding:
      steps.length > 1 && image > 0
        ? `While the answer is written, one of its own tokens gets ${times(output / image)} as much as an image token.`
        : 'The answer has one token, so there is no course to see.',
    svg: efficiencyChart('Attention per token by answer token', steps, places),
    table: typeTable('Answer token', places.long, steps, 'efficiency'),
  };
}

/** The types that there are tokens of. */
function typesOf(shares: readonly TypeShares[]): typeof TYPES {
  return TYPES.filter(({ type }) => shares.some((entry) => entry[type].tokens > 0));
}

interface Places {
  /** Name of the x axis. */
  axis: string;
  names: string[];
  /** For tooltips and tables. */
  long: string[];
}

function layerPlaces(count: number): Places {
  const names = Array.from({ length: count }, (_, layer) => String(layer));
  return { axis: 'Decoder layer', names, long: names.map((name) => `Layer ${name}`) };
}

function tokenPlaces({ answerTokens }: AttentionAnalysis): Places {
  const texts = answerTokens.map(({ text }, index) => {
    const shown = visibleText(text).trim();
    if (shown !== '') return shown;
    return index === answerTokens.length - 1 ? 'end' : '·';
  });
  const short = texts.length <= AXIS_TOKENS && texts.every((text) => text.length <= AXIS_TEXT);
  return {
    axis: 'Answer token',
    names: short ? texts : texts.map((_, index) => String(index + 1)),
    long: texts.map((text, index) => `${index + 1}: ${text}`),
  };
}

function sharesChart(title: string, shares: readonly TypeShares[], { axis, names, long }: Places): string {
  return stackedColumns({
    description: `${title}: stacked columns of system, image, instruction and output. The table below holds the numbers.`,
    x: axis,
    y: 'Share of the attention',
    places: names,
    placeName: (place) => long[place],
    total: 1,
    format: percent,
    series: typesOf(shares).map(({ type, name, color }) => ({
      name,
      color,
      values: shares.map((entry) => entry[type].share),
    })),
  });
}

function efficiencyChart(
  title: string,
  shares: readonly TypeShares[],
  { axis, names, long }: Places,
): string {
  const series = typesOf(shares).map(({ type, name, color, marker }): LineSeries => ({
    name,
    color,
    marker,
    values: shares.map((entry) => (entry[type].tokens > 0 ? entry[type].efficiency : undefined)),
  }));
  return lineChart({
    description: `${title}: one line per type of token on a logarithmic axis. The table below holds the numbers.`,
    x: axis,
    y: 'Share of the attention per token',
    places: names,
    placeName: (place) => long[place],
    scale: 'log',
    format: percent,
    series,
  });
}

function typeTable(
  first: string,
  names: readonly string[],
  shares: readonly TypeShares[],
  measure: 'share' | 'efficiency',
): FigureTable {
  const types = typesOf(shares);
  return {
    columns: [first, ...types.map(({ name }) => name)],
    rows: shares.map((entry, index) => [
      names[index],
      ...types.map(({ type }) => (entry[type].tokens > 0 ? percent(entry[type][measure]) : '–')),
    ]),
  };
}

function imageShareMap(analysis: AttentionAnalysis): Figure {
  const { imageShares, layers } = analysis;
  const places = tokenPlaces(analysis);
  const rows = layers.map((_, layer) => imageShares.map((step) => step[layer]));
  const highest = rows.flat().reduce((a, b) => Math.max(a, b), 0);
  const layer = rows.findIndex((row) => row.includes(highest));
  const step = rows[layer].indexOf(highest);
  return {
    id: 'image-shares',
    title: 'Attention on the image by layer and answer token',
    explanation: 'The share that all image tokens get together, mean over heads.',
    finding: `The model looks at the image most in layer ${layer} at answer token ${places.long[step]} (${roughPercent(highest)}).`,
    svg: heatMap({
      description:
        'Attention on the image by layer and answer token, as colours from dark (none) to bright. The table below holds the numbers.',
      x: places.axis,
      y: 'Decoder layer',
      columns: places.names,
      rows: layers.map((_, index) => String(index)),
      values: rows,
      highest,
      format: percent,
      cellName: (row, column) => `Layer ${row}, token ${places.long[column]}`,
    }),
    table: {
      columns: ['Answer token', ...layers.map((_, index) => `Layer ${index}`)],
      rows: imageShares.map((shares, index) => [places.long[index], ...shares.map(percent)]),
    },
  };
}

// ------------------------------------------------------------------------------------------ removal

/** The smallest K from which on image tokens can go without changing the greedy answer; the number of layers where none is. */
export function answerStaysFrom(removal: readonly RemovalPoint[]): number {
  return removal.findLastIndex(({ firstChange }) => firstChange !== undefined) + 1;
}

function removalFigure(analysis: AttentionAnalysis): Figure {
  const { removal, answerTokens } = analysis;
  const count = answerTokens.length;
  const unreduced = removal[removal.length - 1].logLikelihood;
  const perToken = removal.map(({ logLikelihood }) => (logLikelihood - unreduced) / count);
  const names = removal.map(({ layer }) => String(layer));
  const changes = removal.map(({ firstChange }) =>
    firstChange ? `“${visibleText(firstChange.text).trim()}” at token ${firstChange.index + 1}` : 'none',
  );
  const likely = (point: RemovalPoint): number => Math.exp(point.logLikelihood / count);
  const format = (value: number): string => String(Number(value.toPrecision(3))).replace('-', '−');
  const whole = removal.length - 1;
  const stays = answerStaysFrom(removal);
  const when =
    stays === 0
      ? 'The answer stays as it is even when the model never sees the image.'
      : stays === whole
        ? 'The answer changes wherever the image tokens are dropped.'
        : `Dropped from layer ${stays} or later, they leave the answer as it is: by then the text has taken up what it needs.`;
  const color = CHART_COLORS.series[1];
  return {
    id: 'removal',
    title: 'The answer without image tokens from layer K on',
    explanation:
      'All image tokens are dropped before decoder layer K and the full model’s answer is forced: how much less likely it becomes, per answer token. K = 0: the image was never seen.',
    finding:
      `Without the image the model gives each token of its answer ${roughPercent(likely(removal[0]))} on average (geometric mean), with it ${roughPercent(likely(removal[whole]))}. ` +
      when,
    svg: lineChart({
      description:
        'Change of the answer’s log-likelihood per token when all image tokens are dropped from decoder layer K on. The table below holds the numbers.',
      x: 'K: first decoder layer without image tokens',
      y: 'Change of the log-likelihood per answer token, in nats',
      places: names,
      placeName: (place) =>
        place === whole
          ? 'Nothing dropped'
          : place === 0
            ? 'Image never seen (K = 0)'
            : `Dropped from layer ${place} on`,
      note: (place) =>
        `whole answer: ${format(perToken[place] * count)} nats\nanswer changes: ${changes[place]}`,
      scale: 'linear',
      includes: [0],
      reference: { value: 0, name: 'unreduced' },
      format,
      series: [
        {
          name: 'greedy answer stays',
          color,
          marker: 'circle',
          values: perToken,
          markers: removal.map(({ firstChange }) => (firstChange ? 'open' : 'circle')),
        },
      ],
      also: [{ name: 'greedy answer changes', color, marker: 'open' }],
    }),
    table: {
      columns: [
        'K',
        'Per token (nats)',
        'Whole answer (nats)',
        'Probability per token',
        'First changed token',
      ],
      rows: removal.map((point, index) => [
        names[index],
        format(perToken[index]),
        format(perToken[index] * count),
        percent(likely(point)),
        changes[index],
      ]),
    },
  };
}

// ------------------------------------------------------------------------------------------ vision tower

function towerFigures(
  { images }: AttentionAnalysis,
  vision: VisionAttention,
  image: number,
  picture: string | undefined,
): Figure[] {
  const { shares, sorted, top, kind, layer, layers } = vision;
  const of = images.length > 1 ? ` (image ${image + 1})` : '';
  const id = (name: string): string => `${name}-${image}`;
  const measured =
    kind === 'class'
      ? `What the CLS token looks at in encoder layer ${layer} of ${layers}, the one that makes the features; sum over heads, scaled to 100 % over the patches.`
      : `What each patch receives from all patches in encoder layer ${layer} of ${layers}, the one that makes the features; mean over heads and queries, scaled to 100 % over the patches.`;
  const held = top.map(({ percent: part, patches, share }) => ({
    words: `${part} % (${formatCount(patches)})`,
    patches,
    share,
  }));
  const heldWords = held.map(({ words, share }) => `the top ${words} hold ${roughPercent(share)}`).join(', ');
  const topTable: FigureTable = {
    columns: ['Patches', 'Share held', 'If all were equal'],
    rows: held.map(({ words, patches, share }) => [
      `top ${words}`,
      percent(share),
      percent(patches / sorted.length),
    ]),
  };
  const even = 1 / sorted.length;
  const ranks = Array.from({ length: sorted.length + 1 }, (_, rank) => String(rank));
  let sum = 0;
  const cumulative = [0, ...sorted.map((share) => (sum += share))];
  const line = { color: CHART_COLORS.series[1], marker: 'square' } as const;
  return [
    {
      id: id('tower-map'),
      title: `Where the vision tower looks${of}`,
      explanation: measured,
      finding: `Of ${formatCount(sorted.length)} patches ${heldWords}.`,
      svg: pictureMap({
        description: `Attention of the vision tower over the patches${of}, as colours over the picture. The table below says how much the highest hold.`,
        layout: images[image],
        values: shares,
        name: 'Share of a patch',
        format: percent,
        picture,
      }),
      table: topTable,
    },
    {
      id: id('tower-sorted'),
      title: `Patches by attention${of}`,
      explanation: 'The share of every patch, highest first, on a logarithmic axis.',
      finding: `The first patch gets ${times(sorted[0] / even)} an even share, the middle one ${times(sorted[Math.floor(sorted.length / 2)] / even)}.`,
      svg: lineChart({
        description: `Shares of the patches, highest first${of}. The table below says how much the highest hold.`,
        x: 'Patches by rank',
        y: 'Share of the attention',
        places: ranks,
        placeName: (rank) => `Rank ${rank}`,
        scale: 'log',
        format: percent,
        reference: { value: even, name: 'all equal' },
        series: [{ ...line, name: 'patch', values: [undefined, ...sorted] }],
      }),
      table: topTable,
    },
    {
      id: id('tower-held'),
      title: `What the highest patches hold${of}`,
      explanation: 'The sum of the shares from the highest down. Marked: the top 1, 5 and 10 %.',
      finding: `Half of all attention is on ${formatCount(cumulative.findIndex((share) => share >= 0.5))} of ${formatCount(sorted.length)} patches.`,
      svg: lineChart({
        description: `Share of the attention that the highest patches hold together${of}. The table below holds the marked points.`,
        x: 'Number of patches, highest first',
        y: 'Share of the attention that they hold',
        places: ranks,
        placeName: (rank) => `The first ${rank} patches (${roughPercent(rank / sorted.length)})`,
        scale: 'linear',
        includes: [0, 1],
        format: percent,
        series: [
          {
            name: 'if all were equal',
            color: CHART_COLORS.reference,
            marker: 'open',
            dashed: true,
            values: ranks.map((_, rank) => rank * even),
          },
          {
            ...line,
            name: 'held',
            values: cumulative,
            markers: ranks.map((_, rank) =>
              top.some(({ patches }) => patches === rank) ? 'square' : undefined,
            ),
          },
        ],
      }),
      table: topTable,
    },
  ];
}

// ------------------------------------------------------------------------------------------ words

function efficiencyWords(system: number, image: number): string {
  if (!(image > 0) || !(system > 0)) return 'One of the types has no tokens or no attention.';
  return system >= image
    ? `On average over the layers, a system token gets ${times(system / image)} as much as an image token.`
    : `On average over the layers, an image token gets ${times(image / system)} as much as a system token.`;
}

function times(factor: number): string {
  const digits = factor >= 10 ? formatCount(factor) : String(Number(factor.toPrecision(2)));
  return `${digits} times`;
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function indexOfLeast(values: readonly number[]): number {
  return values.reduce((least, value, index) => (value < values[least] ? index : least), 0);
}

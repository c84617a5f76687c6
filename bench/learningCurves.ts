import { readFileSync } from 'node:fs';
import path from 'node:path';

import { lineChart, type Marker } from '../server/charts/lineChart';
import { CHART_COLORS } from '../server/charts/theme';
import { ROOT } from './evaluationSet';

/** A stage of the training, and which of its figures tell how it went. */
export interface Stage {
  readonly stage: string;
  readonly title: string;
  readonly figures: Readonly<Record<string, string>>;
}

export const LEARNING_STAGES: readonly Stage[] = [
  {
    stage: 'tower',
    title: 'The tower learns to see',
    figures: {
      characters: 'characters',
      role: 'what a patch is',
      colour: 'colours',
      index: 'place in the text',
    },
  },
  {
    stage: 'decoder',
    title: 'The decoder learns to answer from true labels',
    figures: { token: 'tokens of the answer', pointed: 'looks at the right patch' },
  },
  {
    stage: 'joint',
    title: 'Decoder and projector are aligned through real pixels',
    figures: { token: 'tokens of the answer', pointed: 'looks at the right patch' },
  },
  {
    stage: 'refine',
    title: 'Everything together goes on',
    figures: {
      token: 'tokens of the answer',
      pointed: 'looks at the right patch',
      characters: 'characters (tower)',
      theme: 'light or dark (tower)',
    },
  },
  {
    stage: 'loose',
    title: 'Half of the screens keep to no grid',
    figures: {
      token: 'tokens of the answer',
      characters: 'characters (tower)',
      held_out_all: 'whole answers, held-out plain screens',
      held_out_loose_all: 'whole answers, held-out loose screens',
    },
  },
  {
    stage: 'wordings',
    title: 'Half of the questions as people put them, and text too small to read',
    figures: {
      token: 'tokens of the answer',
      held_out_all: 'whole answers, held-out plain screens',
      held_out_free_all: 'the same as people put questions',
      held_out_small_text_all: 'says that text is too small',
      held_out_closed_all: 'whole answers, a quarter of the patches closed up',
    },
  },
  {
    stage: 'gpu',
    title: 'The same on a GPU, with wordings of grammars and windows on larger pictures',
    figures: {
      token: 'tokens of the answer',
      held_out_all: 'whole answers, held-out plain screens',
      held_out_free_all: 'loose screens too, as people put questions',
      held_out_distant_all: 'windows on larger pictures',
    },
  },
];

const MARKERS: readonly Marker[] = ['circle', 'square', 'triangle', 'diamond', 'open'];
/** Points of a line; more are thinned evenly. */
const MOST_POINTS = 24;

export interface LearningCurve {
  readonly stage: string;
  readonly title: string;
  readonly svg: string;
}

/** A chart for each stage, of the running means that training/fovea_training wrote into training/curves. */
export function learningCurves(folder = path.join(ROOT, 'training', 'curves')): LearningCurve[] {
  return LEARNING_STAGES.map(({ stage, title, figures }) => {
    const lines = readFileSync(path.join(folder, `${stage}.jsonl`), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, number | undefined>)
      .filter((line) => Object.keys(figures).some((name) => line[name] !== undefined));
    const step = Math.max(1, Math.ceil(lines.length / MOST_POINTS));
    // Counted from the end, so that the last point is always there.
    const shown = lines.filter((_, index) => (lines.length - 1 - index) % step === 0);
    return {
      stage,
      title,
      svg: lineChart({
        description: `${title}: running means on training screens against the number of images.`,
        x: 'images',
        y: 'right, %',
        places: shown.map(({ images = 0 }) => `${(images / 1000).toFixed(1)}k`),
        scale: 'linear',
        includes: [100],
        format: (value) => `${value.toFixed(0)} %`,
        series: Object.entries(figures).map(([name, label], index) => ({
          name: label,
          color: CHART_COLORS.series[index],
          marker: MARKERS[index],
          values: shown.map((line) => {
            const value = line[name];
            return value === undefined ? undefined : 100 * value;
          }),
        })),
      }),
    };
  });
}

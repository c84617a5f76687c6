import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';

import { openCheckpoint } from '../../server/llava/checkpoint/open';
import type { Precision } from '../../server/llava/checkpoint/precision';
import { LlavaModel } from '../../server/llava/model';
import type { Lap } from './clock';
import { screenshot, timedAsk } from './engineStages';
import { type GgufType, writeDecoderGguf, writeTowerGguf } from './gguf';
import { askLlamaMtmd, type MtmdAnswer } from './llamaMtmd';
import { load } from './machine';
import { compareWithMtmd, type MtmdAgreement } from './mtmdAgreement';
import { checkpointOf, shapeOf } from './shapes';
import { alternate, pairedLaps, summarize, summarizeLaps, type Summary, type Times } from './statistics';

/** llama-mtmd-cli and the engine from the question about a screenshot to the first token, in turn. */
export interface FirstTokenPeer {
  readonly title: string;
  /** When it was measured (ISO 8601), by which command, and the hash of the sources. */
  readonly measuredAt: string;
  readonly command: string;
  readonly code: string;
  readonly load: Summary;
  readonly threads: number;
  /** Milliseconds of its two large stages by how it holds the weights, fastest of some runs; the fastest are used. */
  readonly candidates: readonly {
    readonly type: GgufType;
    readonly encode: number;
    readonly prefill: number;
  }[];
  readonly tower: GgufType;
  readonly decoder: GgufType;
  readonly preparation: Times;
  readonly encode: Times;
  readonly prefill: Times;
  readonly firstToken: Times;
  readonly ours: readonly OurFirstToken[];
  readonly agreement: MtmdAgreement;
}

interface OurFirstToken {
  readonly precision: Precision;
  readonly reduction: string;
  readonly firstToken: Times;
  /** Ours / theirs, run by run. */
  readonly share: Times;
}

export interface FirstTokenOptions {
  readonly program: string;
  readonly shape: string;
  readonly cache: string;
  readonly cacheDirectory: string;
  readonly rounds: number;
  readonly threads: number;
  readonly command: string;
  readonly code: string;
  readonly onRound?: (round: number) => void;
}

const CANDIDATES: readonly GgufType[] = ['F16', 'Q8_0', 'Q4_0'];
const CANDIDATE_RUNS = 2;
const QUESTION = 'What is the title of the dialog?';
const NO_REDUCTION = 'none';
/** 64 of 576 image tokens enter the decoder. */
const PRUNING = 'visionzip:dominant=54,contextual=10';

export async function measureFirstTokenPeer(options: FirstTokenOptions): Promise<FirstTokenPeer> {
  const { program, shape, cache, cacheDirectory, rounds, threads, command, code, onRound } = options;
  const agreement = await compareWithMtmd(program, { cache, cacheDirectory, threads });
  const directory = checkpointOf(shape, cache);
  const checkpoint = await openCheckpoint(directory);
  const picture = path.join(directory, 'screenshot.png');
  await writeFile(picture, await screenshot(1));

  const file = (part: string, type: GgufType): string => path.join(directory, `${part}-${type}.gguf`);
  const ask = (tower: GgufType, decoder: GgufType): Promise<MtmdAnswer> =>
    askLlamaMtmd(
      { program, tower: file('clip', tower), decoder: file('llama', decoder), threads, answerTokens: 1 },
      picture,
      QUESTION,
    );
  for (const type of CANDIDATES) {
    if (!existsSync(file('clip', type))) writeTowerGguf(checkpoint, file('clip', type), type);
    if (!existsSync(file('llama', type))) writeDecoderGguf(checkpoint, file('llama', type), type);
  }
  const tried = await alternate(
    Object.fromEntries(CANDIDATES.map((type) => [type, async () => stagesOf(await ask(type, type))])),
    CANDIDATE_RUNS,
  );
  const candidates = CANDIDATES.map((type) => {
    const { encode, prefill } = tried[type];
    return {
      type,
      encode: summarizeLaps(encode).wall.minimum,
      prefill: summarizeLaps(prefill).wall.minimum,
    };
  });
  const fastest = (stage: 'encode' | 'prefill'): GgufType =>
    candidates.reduce((best, other) => (other[stage] < best[stage] ? other : best)).type;
  const [tower, decoder] = [fastest('encode'), fastest('prefill')];

  const subjects: readonly { readonly precision: Precision; readonly reduction: string }[] = [
    { precision: 'q4q8', reduction: NO_REDUCTION },
    { precision: 'q4q8', reduction: PRUNING },
    { precision: 'q4', reduction: NO_REDUCTION },
    { precision: 'q4', reduction: PRUNING },
    { precision: 'fp32', reduction: NO_REDUCTION },
    { precision: 'fp32', reduction: PRUNING },
  ];
  const precisions = [...new Set(subjects.map(({ precision }) => precision))];
  const models = new Map<Precision, LlavaModel>();
  const loads: number[] = [];
  try {
    for (const precision of precisions)
      models.set(precision, await LlavaModel.open(directory, { cacheDirectory, precision }));
    const image = await screenshot(1);
    const nameOf = ({ precision, reduction }: (typeof subjects)[number]): string =>
      `${precision} ${reduction}`;
    const ours = (subject: (typeof subjects)[number]) => async (): Promise<Record<string, Lap>> => {
      const { checkpoint, tokenizer, sessions } = models.get(subject.precision)!;
      const { laps } = await timedAsk(
        // Without the picture's features from the round before.
        { checkpoint, tokenizer, sessions },
        { images: [image], question: QUESTION, reduction: subject.reduction, sampling: { maxTokens: 1 } },
      );
      return laps;
    };
    const rows = await alternate(
      {
        theirs: async () => {
          loads.push(load());
          return stagesOf(await ask(tower, decoder));
        },
        ...Object.fromEntries(subjects.map((subject) => [nameOf(subject), ours(subject)])),
      },
      rounds,
      onRound,
    );
    return {
      title: shapeOf(shape).title,
      measuredAt: new Date().toISOString(),
      command,
      code,
      load: summarize(loads),
      threads,
      candidates,
      tower,
      decoder,
      preparation: summarizeLaps(rows.theirs.preparation),
      encode: summarizeLaps(rows.theirs.encode),
      prefill: summarizeLaps(rows.theirs.prefill),
      firstToken: summarizeLaps(rows.theirs.firstToken),
      ours: subjects.map((subject) => ({
        ...subject,
        firstToken: summarizeLaps(rows[nameOf(subject)].firstToken),
        share: pairedLaps(rows[nameOf(subject)].firstToken, rows.theirs.firstToken),
      })),
      agreement,
    };
  } finally {
    for (const model of models.values()) await model.dispose();
  }
}

function stagesOf({ preparation, encode, prefill, firstToken }: MtmdAnswer): Record<string, Lap> {
  return { preparation, encode, prefill, firstToken };
}

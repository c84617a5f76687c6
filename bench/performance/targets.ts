import type { EngineResults } from './engineStages';
import type { FirstTokenPeer } from './firstTokenPeer';
import { isShared } from './machine';
import { agrees } from './mtmdAgreement';
import type { PerformanceResults } from './results';

/** A target of the design, and what was measured. Lower is better unless `atLeast`. */
interface Target {
  readonly stage: string;
  readonly unit: string;
  readonly must: number;
  readonly stretch?: number;
  readonly atLeast?: boolean;
  /** The fastest run, which other programs disturbed least. */
  readonly measured: number | undefined;
  /** What the processor time would come to with the cores to ourselves. */
  readonly undisturbed?: number;
  readonly note?: string;
}

export const WITHOUT_MTMD =
  'It comes in no npm, PyPI or Debian package as a program; bench/performance/llamaMtmd.ts says how to build it from the PyPI package llama-cpp-python, and --mtmd takes it.';

function whyUnusable({ load, agreement }: FirstTokenPeer, cores: number): string | undefined {
  // Its threads spin while they wait for each other: beside other programs they are slow in wall and in processor time.
  if (isShared(load.median, cores)) return 'on a shared machine only: see Peers';
  return agrees(agreement) ? undefined : 'it does not compute the same: see Peers';
}

/** The design's targets were set on a machine with 2 cores of AVX2 that was quiet. */
export function renderTargets(results: PerformanceResults, cores: number): string {
  const rows = targets(results, cores).map((target) => {
    const { stage, unit, must, stretch, atLeast, measured, undisturbed, note } = target;
    const show = (value: number | undefined): string =>
      value === undefined ? '–' : `${value.toFixed(value < 10 ? 2 : 0)} ${unit}`;
    const sign = atLeast ? '≥' : '≤';
    const aims = `${sign} ${must} ${unit}${stretch === undefined ? '' : ` / ${sign} ${stretch} ${unit}`}`;
    return `| ${stage} | ${aims} | ${show(measured)} | ${show(undisturbed)} | ${verdict(target)} | ${note ?? ''} |`;
  });
  return [
    '| stage | must / stretch | fastest run | processor time / cores | met | |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

function verdict({ must, stretch, atLeast, measured, undisturbed }: Target): string {
  const reaches = (value: number | undefined, aim: number | undefined): boolean =>
    value !== undefined && aim !== undefined && (atLeast ? value >= aim : value <= aim);
  if (measured === undefined) return 'not measured';
  if (reaches(measured, stretch)) return 'stretch';
  if (reaches(measured, must)) return 'must';
  if (reaches(undisturbed, must)) return 'not in wall time; its processor time would';
  return 'no';
}

function targets(results: PerformanceResults, cores: number): Target[] {
  const { engine, memory, coldStart, peers, firstTokenPeer } = results;
  const smol = (precision: string): EngineResults | undefined =>
    engine.find((run) => run.title.includes('SmolLM2') && run.precision === precision);
  const [full, quantized] = [smol('fp32'), smol('q4')];
  const rate = (tokens: number | undefined, milliseconds: number | undefined): number | undefined =>
    tokens === undefined || milliseconds === undefined ? undefined : (1000 * tokens) / milliseconds;
  const prefill = (name: string, run: EngineResults | undefined, must: number): Target => ({
    stage: `prefill, SmolLM2 shape, ${name}`,
    unit: 'tokens/s',
    must,
    stretch: 600,
    atLeast: true,
    measured: rate(run?.promptTokens, run?.prefill.time.wall.minimum),
    undisturbed: rate(run?.promptTokens, run && run.prefill.time.cpu.median / cores),
  });
  const pruned = full?.speedups[0];
  const textMemory = memory.find(
    ({ title, precision }) => /without a tower/.test(title) && precision === 'q4',
  );
  const seconds = (milliseconds: number | undefined): number | undefined =>
    milliseconds === undefined ? undefined : milliseconds / 1000;
  const shares = engine
    .filter(({ parameters }) => parameters > 1e8)
    .flatMap(({ selections }) =>
      selections.flatMap(({ ofSaved }) => (ofSaved === undefined ? [] : 100 * ofSaved)),
    );
  const firstToken = (
    stage: string,
    must: number,
    isMeant: (ours: FirstTokenPeer['ours'][number]) => boolean,
  ): Target => {
    // The precision that is faster; llama.cpp has its fastest types too.
    const shares = firstTokenPeer?.ours.filter(isMeant).map(({ firstToken: { wall, cpu } }) => ({
      wall: wall.minimum / firstTokenPeer.firstToken.wall.minimum,
      // Not the medians: where anything else runs its threads spin, and the time that they spin is no work.
      cpu: cpu.minimum / firstTokenPeer.firstToken.cpu.minimum,
    }));
    const best = shares?.toSorted((a, b) => a.wall - b.wall)[0];
    const unusable = firstTokenPeer && whyUnusable(firstTokenPeer, cores);
    if (unusable !== undefined) return { stage, must, unit: 'x', measured: undefined, note: unusable };
    return {
      ...{ stage, must, unit: 'x', measured: best?.wall, undisturbed: best?.cpu },
      note: best ? 'ours / theirs, fastest runs of both' : WITHOUT_MTMD,
    };
  };
  const peer = peers.runs.find(({ weights }) => weights.endsWith('q4'));
  return [
    {
      stage: 'image encode, ViT-L/336',
      unit: 's',
      must: 2.8,
      stretch: 2.2,
      measured: seconds(full?.encode.time.wall.minimum),
      undisturbed: seconds(full && full.encode.time.cpu.median / cores),
    },
    prefill('float32', full, 490),
    prefill('4-bit', quantized, 400),
    {
      stage: 'prefill pruned to 128 tokens against the whole one, SmolLM2 shape',
      unit: 'x',
      must: 4.5,
      stretch: 5.5,
      atLeast: true,
      measured: pruned?.measured.cpu.median,
      note: 'a ratio of processor times, so the load does not matter',
    },
    {
      stage: 'decode, SmolLM2 shape, 4-bit',
      unit: 'tokens/s',
      must: 60,
      atLeast: true,
      measured: rate(1, quantized?.decode.time.wall.minimum),
      undisturbed: rate(1, quantized && quantized.decode.time.cpu.median / cores),
      note: peer
        ? `node-llama-cpp takes ${peer.decodeRatio.cpu.median.toFixed(2)} times our processor time (stretch: 1.2)`
        : '',
    },
    {
      stage: 'the same after pruning to 128 tokens',
      unit: 'tokens/s',
      must: 70,
      stretch: 90,
      atLeast: true,
      measured: rate(1, quantized?.decodePruned.time.wall.minimum),
      undisturbed: rate(1, quantized && quantized.decodePruned.time.cpu.median / cores),
    },
    {
      stage: 'private memory, SmolLM2 shape, 4-bit, text side',
      unit: 'MB',
      must: 300,
      stretch: 200,
      measured: textMemory && textMemory.memory.answered / 1e6,
      note: 'after an answer; more for every picture that is remembered',
    },
    firstToken(
      'time to first token of ViT-L + SmolLM2 against llama-mtmd-cli',
      0.5,
      ({ reduction }) => reduction === 'none',
    ),
    firstToken('the same with 64 of 576 image tokens', 0.4, ({ reduction }) => reduction !== 'none'),
    {
      stage: 'selection cost, the dearest method, of the prefill that it saves (models above 100 M)',
      unit: '%',
      must: 2,
      measured: shares.length > 0 ? Math.max(...shares) : undefined,
    },
    {
      stage: 'embedded model, cold process to first token',
      unit: 's',
      must: 1.5,
      stretch: 0.8,
      measured: seconds(coldStart.firstToken.minimum),
    },
  ];
}

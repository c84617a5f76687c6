import { isShared } from './machine';
import { TOLERANCE } from './mtmdAgreement';
import type { PeerResults } from './peers';
import type { PerformanceResults } from './results';
import type { Summary, Times } from './statistics';
import { renderTargets, WITHOUT_MTMD } from './targets';

/** docs/results/performance.md. */
export function renderPerformance(results: PerformanceResults): string {
  const { engine, memory, coldStart, peers } = results;
  return `# Performance

Made by \`npm run bench\` on: ${results.machine}. Random weights in the shapes of real models, except the embedded one. Every figure is the
median of runs in turn (A B C, C B A, ...), with minimum and maximum in brackets.

${runsTable(results)}

Memory, start and peers: ${results.others.measuredAt.slice(0, 10)}, \`${results.others.command}\`, sources \`${results.others.code}\`.

"Of peak" is the FLOPs model's multiply-accumulates per second of processor time, against a product of 2048 x 2048 x 2048 that ran in the
same round.

## Targets

${renderTargets(results, results.cores)}

## Stages

${table(
  [
    'shape',
    'precision',
    'prompt',
    'load',
    'image encode, wall / CPU',
    'of peak',
    'prefill, wall / CPU',
    'tokens/s (fastest)',
    'of peak',
    'decode, wall / CPU',
    'tokens/s (fastest)',
    'GB/s of weights (fastest)',
  ],
  engine.map((run) => [
    run.title,
    run.precision,
    `${run.promptTokens}`,
    run.load.median.toFixed(1),
    times(run.encode.time),
    percent(run.encode.ofPeak),
    times(run.prefill.time),
    rate(run.prefill.time.wall, run.promptTokens),
    percent(run.prefill.ofPeak),
    times(run.decode.time),
    rate(run.decode.time.wall, 1),
    ((run.decode.weightBytes + run.decode.cacheBytes) / run.decode.time.wall.minimum / 1e6).toFixed(1),
  ]),
)}

A large float32 product took per round: ${engine
    .map(({ title, peak }) => `${title}: ${times(peak)}`)
    .join('; ')} (17.2 GFLOP).

## Reduction against the FLOPs model

Time of the unreduced prefill / of the reduced one. \`uniform\` removes tokens before the decoder, \`fastv\` before its third layer.
Where less is gained than the model says: it counts products alone. Norms, masks, softmax and rotary embedding are a third of the embedded model's prefill;
a float32 product over some hundred rows costs more by the row than one over all of them, because it reads the same weights; and of a long
prompt in chunks the whole prefill computes only half of the attention that is counted. The cut itself is one more run, a millisecond at most.

${table(
  ['shape', 'method', 'prompt tokens, mean over layers', 'FLOPs model', 'measured, CPU', 'measured, wall'],
  engine.flatMap((run) =>
    run.speedups.map((speedup) => [
      `${run.title}, ${run.precision}`,
      `\`${speedup.spec}\``,
      speedup.tokens.toFixed(0),
      `${speedup.expected.toFixed(2)}x`,
      factor(speedup.measured.cpu),
      factor(speedup.measured.wall),
    ]),
  ),
)}

## First token, and the second question about an image

From the question (an encoded 1280x720 screenshot) to the first token, model loaded. "Second question": the tower's output and the
decoder's keys and values of system prompt and image are left from another question.

${table(
  [
    'shape',
    'first question',
    'pruned to 128 tokens',
    'second question',
    'first / second, CPU',
    'first / second, wall',
  ],
  engine.map((run) => [
    `${run.title}, ${run.precision}`,
    times(run.firstToken.whole),
    times(run.firstToken.pruned),
    times(run.firstToken.followUp),
    factor(run.followUpRatio.cpu),
    factor(run.followUpRatio.wall),
  ]),
)}

## Decoding: the cache as an input only

The control feeds and fetches the whole cache at every step, as transformers.js does, with the same weights and onnxruntime.

${table(
  ['shape', 'ours', 'pruned to 128 tokens', 'control', 'control / ours, CPU', 'control / ours, wall'],
  engine.map((run) => [
    `${run.title}, ${run.precision}`,
    times(run.decode.time),
    times(run.decodePruned.time),
    times(run.cacheInOut),
    factor(run.cacheInOutRatio.cpu),
    factor(run.cacheInOutRatio.wall),
  ]),
)}

## Selection

What choosing the tokens costs: median, fastest run, and the fastest run's share of the prefill time that it saves.

${table(
  ['method', ...engine.map(({ title, precision }) => `${title}, ${precision}`)],
  engine[0].selections.map(({ spec }, index) => [
    `\`${spec}\``,
    ...engine.map(({ selections }) => {
      const { time, ofSaved } = selections[index];
      const share =
        ofSaved === undefined ? 'saves none' : `${(100 * ofSaved).toFixed(ofSaved < 0.01 ? 2 : 1)} %`;
      return `${milliseconds(time.median)} [${milliseconds(time.minimum)}], ${share}`;
    }),
  ]),
)}

## Memory

Private memory of a process started as the inference process is; weights that are mapped from files are not in it.${
    results.memoryCode === undefined
      ? ''
      : `\nMeasured again later than the rest, by \`npm run bench -- --only memory\`: sources \`${results.memoryCode}\`.`
  }

${
  memory.length === 0
    ? 'This system does not tell.'
    : table(
        ['shape', 'precision', 'model opened', 'after an answer', 'after answers about eight images'],
        memory.map(({ title, precision, memory: { loaded, answered, afterEight } }) => [
          title,
          precision,
          ...[loaded, answered, afterEight].map((bytes) => `${(bytes / 1e6).toFixed(0)} MB`),
        ]),
      )
}

## Start

\`fovea ask\` with the embedded model, from the start of the process to the first token of the answer:
${spread(coldStart.firstToken)}; Node alone takes ${spread(coldStart.node)}.

How soon the language server answers meanwhile: [responsiveness.md](responsiveness.md).

## Peers

${peerTable(peers)}

${firstTokenSection(results)}
`;
}

/** Which shapes were measured when, and how busy the machine was. */
function runsTable({ planned, engine, cores }: PerformanceResults): string {
  const rows = planned.map(({ shape, title, precision }) => {
    const run = engine.find((candidate) => candidate.shape === shape && candidate.precision === precision);
    if (!run) return [title, precision, 'not measured', '', '', ''];
    const { measuredAt, command, code, load } = run;
    return [
      title,
      precision,
      measuredAt.slice(0, 10),
      load.median.toFixed(1),
      `\`${code}\``,
      `\`${command}\``,
    ];
  });
  const shared = engine.filter((run) => isShared(run.load.median, cores));
  const note =
    shared.length === 0
      ? 'The machine was quiet.'
      : `**The machine was shared** for ${shared.map(({ title, precision }) => `${title}, ${precision}`).join('; ')}: more programs wanted its cores than it
has (see "load"). Wall times there are longer than they need be and spread widely. Ratios of processor time ("CPU", of runs in turn) are what
can be relied upon.`;
  return `${table(['shape', 'precision', 'measured', 'load', 'sources', 'command'], rows)}

${note}`;
}

function peerTable(peers: PeerResults): string {
  const { runs, missing } = peers;
  const parts: string[] = [];
  if (runs.length > 0) {
    parts.push(
      table(
        [
          'shape',
          'program',
          'weights',
          'prefill, wall / CPU',
          'theirs / ours, CPU',
          'decode, wall / CPU',
          'theirs / ours, CPU',
        ],
        runs.map((run) => [
          run.shape,
          run.program,
          run.weights,
          times(run.prefill),
          factor(run.prefillRatio.cpu),
          times(run.decode),
          factor(run.decodeRatio.cpu),
        ]),
      ),
    );
  }
  for (const { program, why } of missing) parts.push(`${program}: not measured. ${why}`);
  return parts.join('\n\n');
}

function firstTokenSection({ firstTokenPeer: peer, cores }: PerformanceResults): string {
  if (!peer) return `llama-mtmd-cli: not measured. ${WITHOUT_MTMD}`;
  const { title, measuredAt, command, code, load, threads, candidates, tower, decoder, ours, agreement } =
    peer;
  const { imageTokens, difference, answerTokens, sameAnswer } = agreement;
  const stages = [peer.preparation, peer.encode, peer.prefill].map(times).join(' + ');
  const tried = candidates.map(
    ({ type, encode, prefill }) => `${type} ${milliseconds(encode)} + ${milliseconds(prefill)}`,
  );
  return `### First token against llama-mtmd-cli

${title}, the same random weights and the same encoded 1280x720 screenshot, ${threads} threads, models loaded and warm; wall / CPU. Theirs is a process
per round, asked once. It holds the tower as ${tower} and the decoder as ${decoder}, the fastest for each (tower + prefill: ${tried.join(', ')}).
Its time is that of picture and prompt + tower and projector + decoder: ${stages}.
Measured ${measuredAt.slice(0, 10)}, \`${command}\`, sources \`${code}\`, load ${load.median.toFixed(1)}${
    isShared(load.median, cores)
      ? ': **the machine was shared**; its threads spin while they wait for each other, so that its times, wall and CPU, are longer than they need be and the ratios say nothing'
      : ''
  }.

${table(
  ['program', 'precision', 'reduction', 'first token', 'ours / theirs, CPU', 'ours / theirs, wall'],
  [
    ['llama-mtmd-cli', `${tower} + ${decoder}`, 'none', times(peer.firstToken), '', ''],
    ...ours.map(({ precision, reduction, firstToken, share }) => [
      'Fovea',
      precision,
      `\`${reduction}\``,
      times(firstToken),
      factor(share.cpu),
      factor(share.wall),
    ]),
  ],
)}

That both compute the same was tried with a small checkpoint in float32 and a picture that needs no scaling: of ${imageTokens} image tokens no number
differs by more than ${difference.toExponential(0)} of the largest (allowed: ${TOLERANCE.toExponential(0)}; its GELU reads a table in half precision), and over the same image tokens ${
    sameAnswer
      ? `all ${answerTokens} greedy answer tokens are the same`
      : `the ${answerTokens} greedy answer tokens are **not** the same`
  }.
Two things differ and take no time: it pads with another colour, and its LLaVA tower hands on the class token in the place of the first patch (gguf.ts).

The targets come from a machine without AVX-512, where its tower took 4 to 4.5 s and ours 2.8 s. In float32 ours computes at the speed of large products, so only
fewer bits make it faster, as in \`q4q8\`; what they cost on a real checkpoint has not been measured (precision.md), so nothing chooses them by itself. Whoever types a
question does not wait for it: the image is read meanwhile, as for a second question.`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function times({ wall, cpu }: Times): string {
  return `${spread(wall)} / ${milliseconds(cpu.median)}`;
}

function spread({ median, minimum, maximum }: Summary): string {
  return `${milliseconds(median)} [${milliseconds(minimum)}–${milliseconds(maximum)}]`;
}

function rate({ median, minimum }: Summary, tokens: number): string {
  const perSecond = (time: number): string => {
    const value = (1000 * tokens) / time;
    return value < 10 ? value.toFixed(1) : value.toFixed(0);
  };
  return `${perSecond(median)} (${perSecond(minimum)})`;
}

function factor({ median, minimum, maximum }: Summary): string {
  return `${median.toFixed(2)}x [${minimum.toFixed(2)}–${maximum.toFixed(2)}]`;
}

function percent({ median, minimum, maximum }: Summary): string {
  return `${(100 * median).toFixed(0)} % [${(100 * minimum).toFixed(0)}–${(100 * maximum).toFixed(0)}]`;
}

function milliseconds(value: number): string {
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value < 10 ? value.toFixed(value < 1 ? 2 : 1) : value.toFixed(0)} ms`;
}

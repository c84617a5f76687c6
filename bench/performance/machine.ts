import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, loadavg, totalmem } from 'node:os';
import path from 'node:path';

import { GraphBuilder } from '../../server/llava/graph/onnx';
import { Session, floatTensor } from '../../server/llava/runtime/session';
import { ROOT } from '../evaluationSet';

/** Instruction sets that make a difference to matrix products, as Linux names them. */
const INSTRUCTION_SETS = [
  'avx2',
  'avx_vnni',
  'avx512f',
  'avx512_vnni',
  'amx_tile',
  'asimd',
  'asimddp',
  'i8mm',
];

/** The machine in words, without names that would tell whose it is. */
export function describeMachine(): string {
  const found = instructionSets();
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  return `${availableParallelism()} cores, ${process.arch}${found.length > 0 ? ` (${found.join(', ')})` : ''}, ${memory} GiB, ${process.platform}, Node ${process.versions.node}`;
}

function instructionSets(): string[] {
  try {
    const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
    const all = new Set(flags.split(/\s+/));
    return INSTRUCTION_SETS.filter((name) => all.has(name));
  } catch {
    return [];
  }
}

/** Programs that want a core, mean of the last minute; 0 on Windows, which does not count them. */
export function load(): number {
  return loadavg()[0];
}

/** What a measurement adds to the load beside the threads that compute. */
const OWN_LOAD = 0.5;

/** Whether others wanted the cores too. */
export function isShared(load: number, cores: number): boolean {
  return load > cores + OWN_LOAD;
}

/** SHA-256 over the sources that were measured: server/ and bench/, without tests. */
export function codeHash(): string {
  const hash = createHash('sha256');
  for (const folder of ['server', 'bench']) {
    const files = readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .map((file) => `${folder}/${file.split(path.sep).join('/')}`)
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
      .sort();
    for (const file of files) hash.update(`${file}\0`).update(readFileSync(path.join(ROOT, file)));
  }
  return hash.digest('hex').slice(0, 12);
}

/** Rows and columns of {@link peakProduct}: the products of a 7B model are as large. */
export const PEAK_SIZE = 2048;
export const PEAK_MACS = PEAK_SIZE ** 3;

/** A float32 matrix product that has nothing to wait for: what the machine can do at this moment, with the same library. */
export async function peakProduct(): Promise<() => Promise<void>> {
  const graph = new GraphBuilder('peak');
  const shape = [PEAK_SIZE, PEAK_SIZE];
  const product = graph.add('MatMul', [
    graph.input('a', 'float32', shape),
    graph.input('b', 'float32', shape),
  ]);
  graph.output('sum', graph.add('ReduceSum', [product], { keepdims: 0 }), 'float32', []);
  const session = await Session.create(graph.build(), 'cpu');
  const numbers = Float32Array.from({ length: PEAK_SIZE ** 2 }, (_, index) => (index % 7) - 3);
  const feeds = { a: floatTensor(numbers, shape), b: floatTensor(numbers, shape) };
  return async () => void (await session.run(feeds));
}

/**
 * Bytes that a process has for itself alone. Weights that are mapped from files are not among them: the system may take their pages
 * back at any time. (Not "Private_Dirty", which counts pages of a mapped file that was written a moment ago.) Undefined where the
 * system does not tell.
 */
export function privateBytes(pid: number | 'self'): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const kilobytes = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
    return 1024 * (kilobytes('Anonymous') + kilobytes('Swap'));
  } catch {
    return undefined;
  }
}

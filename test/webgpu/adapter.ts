import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

import { GraphBuilder } from '../../server/llava/graph/onnx';

/** A Vulkan adapter that onnxruntime's WebGPU can use, and the environment that selects it. */
export interface Adapter {
  readonly name: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Where packages of Chromium put SwiftShader, a Vulkan driver in software. */
const SWIFTSHADER = [
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/usr/lib/chromium-browser/vk_swiftshader_icd.json',
  '/usr/lib64/chromium-browser/vk_swiftshader_icd.json',
  '/opt/google/chrome/vk_swiftshader_icd.json',
];
const LIMIT_MS = 60_000;

const PROGRAM = `
  const { InferenceSession, Tensor } = require('onnxruntime-node');
  InferenceSession.create(Buffer.from(process.argv[1], 'base64'), { executionProviders: ['webgpu'], logSeverityLevel: 4 })
    .then((session) => session.run({ a: new Tensor('float32', [1, 2, 3], [3]) }))
    .then(({ b }) => process.exit(b.data[2] === 6 ? 0 : 1), (error) => { console.error(error.message.split('\\n')[0]); process.exit(1); });
`;

/**
 * Looks for an adapter: the system's own, or a software one that happens to be installed. Every candidate is tried in a process
 * that may be lost.
 *
 * @returns the adapter, or why there is none.
 */
export async function findAdapter(): Promise<Adapter | string> {
  const software = process.platform === 'linux' ? SWIFTSHADER.filter((file) => existsSync(file)) : [];
  const candidates: Adapter[] = [
    { name: "the system's adapter", environment: {} },
    ...software.map((file) => ({
      name: `SwiftShader (${file})`,
      environment: { VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file },
    })),
  ];
  const reasons: string[] = [];
  for (const candidate of candidates) {
    const failure = await tryAdapter(candidate);
    if (failure === undefined) return candidate;
    reasons.push(`${candidate.name}: ${failure}`);
  }
  return `no Vulkan adapter for WebGPU: ${reasons.join('; ')}`;
}

async function tryAdapter({ environment }: Adapter): Promise<string | undefined> {
  const graph = new GraphBuilder('double');
  const a = graph.input('a', 'float32', ['n']);
  graph.output('b', graph.add('Add', [a, a]), 'float32', ['n']);
  const bytes = Buffer.from(graph.build().bytes).toString('base64');
  try {
    await promisify(execFile)(process.execPath, ['-e', PROGRAM, bytes], {
      env: { ...process.env, ...environment },
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
    });
    return undefined;
  } catch (error) {
    const { stderr, signal } = error as { stderr?: string; signal?: string };
    return signal ?? stderr?.trim().split('\n').at(-1) ?? String(error);
  }
}

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

import { defaultCacheDirectory } from '../../server/llava/cacheDirectory';
import { type FloatType, GraphBuilder } from '../../server/llava/graph/onnx';

/** A Vulkan adapter that onnxruntime's WebGPU can use, and the environment that selects it. */
export interface Adapter {
  readonly name: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Vulkan drivers in software: where packages of Chromium put SwiftShader, and `npm run software-adapter` Mesa's lavapipe. */
const SOFTWARE = [
  { name: 'SwiftShader', file: '/usr/lib/chromium/vk_swiftshader_icd.json' },
  { name: 'SwiftShader', file: '/usr/lib/chromium-browser/vk_swiftshader_icd.json' },
  { name: 'SwiftShader', file: '/usr/lib64/chromium-browser/vk_swiftshader_icd.json' },
  { name: 'SwiftShader', file: '/opt/google/chrome/vk_swiftshader_icd.json' },
  { name: 'lavapipe', file: path.join(defaultCacheDirectory(), 'lavapipe', 'icd.json') },
];
const LIMIT_MS = 60_000;

const PROGRAM = `
  const { InferenceSession, Tensor } = require('onnxruntime-node');
  InferenceSession.create(Buffer.from(process.argv[1], 'base64'), { executionProviders: ['webgpu'], logSeverityLevel: 4 })
    .then((session) => session.run({ a: new Tensor('float32', [1, 2, 3], [3]) }))
    .then(({ b }) => process.exit(b.data[2] === 6 ? 0 : 1), (error) => { console.error(error.message.split('\\n')[0]); process.exit(1); });
`;

/**
 * Looks for an adapter that computes in `float`: the system's own, or a software one that happens to be there. Every candidate is
 * tried in a process that may be lost.
 *
 * @returns the adapter, or why there is none.
 */
export async function findAdapter(float: FloatType = 'float32'): Promise<Adapter | string> {
  const software = process.platform === 'linux' ? SOFTWARE.filter(({ file }) => existsSync(file)) : [];
  const candidates: Adapter[] = [
    { name: "the system's adapter", environment: {} },
    ...software.map(({ name, file }) => ({
      name: `${name} (${file})`,
      environment: { VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file },
    })),
  ];
  const reasons: string[] = [];
  for (const candidate of candidates) {
    const failure = await tryAdapter(candidate, float);
    if (failure === undefined) return candidate;
    reasons.push(`${candidate.name}: ${failure}`);
  }
  const wanted = float === 'float16' ? 'WebGPU in half precision' : 'WebGPU';
  const remedy = process.platform === 'linux' ? ' On Debian, npm run software-adapter fetches one.' : '';
  return `no Vulkan adapter for ${wanted}: ${reasons.join('; ')}.${remedy}`;
}

async function tryAdapter({ environment }: Adapter, float: FloatType): Promise<string | undefined> {
  const graph = new GraphBuilder('double', { float, onDevice: false });
  const a = graph.floatInput('a', ['n']);
  graph.floatOutput('b', graph.add('Add', [a, a]), ['n']);
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

// Bundles the programs of the extension into dist/. `node esbuild.mjs [--watch] [--production] [--outdir=D] [--metafile=F]`
import { build, context } from 'esbuild';
import { existsSync, writeFileSync } from 'node:fs';

const watch = process.argv.includes('--watch');
const production = process.argv.includes('--production');
const option = (name) =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.slice(name.length + 3);

/** Native modules stay outside the bundles: they are loaded from node_modules (or dist/node_modules in a VSIX). */
const external = ['vscode', 'onnxruntime-node', 'sharp'];

const node = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  sourcemap: !production,
  minify: production,
  external,
  logLevel: 'warning',
};

/** One entry per program: the floors of docs/ARCHITECTURE.md, top row. */
const programs = [
  { ...node, entryPoints: { client: 'client/main.ts' } },
  { ...node, entryPoints: { server: 'server/main.ts' } },
  { ...node, entryPoints: { inference: 'server/inference/process.ts' } },
  { ...node, entryPoints: { convert: 'server/llava/checkpoint/sidecarWorker.ts' } },
  { ...node, entryPoints: { cli: 'server/cli.ts' }, banner: { js: '#!/usr/bin/env node' } },
  { ...node, entryPoints: { demo: 'server/demo.ts' } },
  { ...node, entryPoints: { evaluateModel: 'bench/evaluateModel.ts' } },
  { ...node, entryPoints: { performance: 'bench/performance.ts' } },
  { ...node, entryPoints: { gpu: 'bench/gpu.ts' } },
  { ...node, entryPoints: { evaluateReductions: 'bench/reduction/evaluate.ts' } },
  { ...node, entryPoints: { responsiveness: 'bench/responsiveness.ts' } },
  { ...node, entryPoints: { textHeight: 'bench/textHeight.ts' } },
  { ...node, entryPoints: { precision: 'bench/precision.ts' } },
  { ...node, entryPoints: { fuzz: 'bench/fuzz.ts' } },
  { ...node, entryPoints: { prediction: 'bench/prediction.ts' } },
  { ...node, entryPoints: { whole7b: 'bench/whole7b.ts' } },
  {
    bundle: true,
    platform: 'browser',
    target: 'es2022',
    format: 'iife',
    sourcemap: false,
    minify: true,
    entryPoints: { webview: 'webview/main.ts' },
    loader: { '.svg': 'text', '.css': 'text' },
    logLevel: 'warning',
  },
].map((program) => ({ ...program, outdir: option('outdir') ?? 'dist' }));

// Absent entries are skipped while the project grows; a missing one fails where it is used.
const present = programs.filter((program) =>
  Object.values(program.entryPoints).every((file) => existsSync(file)),
);

if (watch) {
  for (const program of present) await (await context(program)).watch();
} else {
  const results = await Promise.all(present.map((program) => build({ ...program, metafile: true })));
  // Which packages went into the bundles: what the notices of a VSIX must name.
  const metafile = option('metafile');
  if (metafile)
    writeFileSync(metafile, JSON.stringify(results.flatMap((result) => Object.keys(result.metafile.inputs))));
}

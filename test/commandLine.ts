import { spawn } from 'node:child_process';
import path from 'node:path';

/** The built command line, as a user runs it. `npm test` builds it first. */
const CLI = path.join(__dirname, '..', 'dist', 'cli.js');

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** @param cache folder that stands for the user's cache */
export function runCommandLine(
  args: readonly string[],
  cache: string,
  options: { interruptAtFirstOutput?: boolean } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], {
      env: { ...process.env, XDG_CACHE_HOME: cache, LOCALAPPDATA: cache },
    });
    const outcome: Outcome = { code: null, stdout: '', stderr: '' };
    child.stdout.on('data', (chunk: Buffer) => (outcome.stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (outcome.stderr += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code }));
    if (options.interruptAtFirstOutput) child.stdout.once('data', () => child.kill('SIGINT'));
  });
}

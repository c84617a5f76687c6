import type { MemorySample, SoakReport } from './soak';

/** docs/results/soak.md. */
export function renderSoak(report: SoakReport, machine: string): string {
  const { memory } = report;
  const rows = memory.map(
    ({ asked, server, inference }) =>
      `| ${asked} | ${megabytes(server)} | ${inference === undefined ? 'none' : megabytes(inference)} |`,
  );
  return `# Soak

Made by \`npm run soak\` on: ${machine}. ${report.questions} questions over ${report.images} images through the language server with the embedded
model, three at a time, in ${(report.seconds / 60).toFixed(0)} minutes; random cancels, kills (SIGKILL) of inference processes and changes of settings (seed
${report.seed}). Afterwards every answer was compared with what the engine says undisturbed, with nothing reused and nothing cached.

| | |
|---|---|
| questions | ${report.questions} |
| answered | ${report.answered}, of these ${report.cached} from the answer cache |
| cancelled | ${report.cancelled}, and ${report.cancelledTooLate} too late |
| inference processes killed | ${report.kills} |
| requests that failed with their process and were asked again | ${report.crashed} |
| requests refused after three deaths within five minutes, until the restart that the error offers | ${report.stopped} |
| changes of settings | ${report.settingChanges} |
| images read before their question came | ${report.readAhead}, and ${report.madeWay} made way for something else |
| **wrong or mixed-up answers** | **${report.wrong.length}** |
| answers that part from the engine's at two equally likely tokens (logits within 0.001) | ${report.ties} |
| **failures that nothing explains** | **${report.unexpected.length}** |
| answer cache at the end | ${report.cacheEntries} entries, **${report.cacheDamaged} damaged**; ${report.cacheChecked} read back and compared |
| inference processes seen | ${report.inferenceProcesses} |
| **processes alive after the server's end** | **${report.orphans}** |

## Memory

Resident memory over time; an inference process that was killed or left memory starts again small.

| questions asked | language server | inference process |
|---|---|---|
${rows.join('\n')}

Largest: language server ${megabytes(largest(memory, 'server'))}, inference process ${megabytes(largest(memory, 'inference'))}.
`;
}

export function largest(memory: readonly MemorySample[], process: 'server' | 'inference'): number {
  return Math.max(...memory.map((sample) => sample[process] ?? 0));
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

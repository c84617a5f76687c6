import { execFileSync } from 'node:child_process';

/** Ids of the processes whose parent this is, and of their children; [] where the system has no `ps`. */
export function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const [id, parent] of processTable()) children.set(parent, [...(children.get(parent) ?? []), id]);
  const found: number[] = [];
  for (let next = [pid]; next.length > 0;) {
    next = next.flatMap((id) => children.get(id) ?? []);
    found.push(...next);
  }
  return found;
}

/** Resident memory of a process in bytes, or undefined where it has ended. */
export function residentBytes(pid: number): number | undefined {
  try {
    return 1024 * Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }).trim());
  } catch {
    return undefined;
  }
}

/** Whether processes can be listed here (not on Windows). */
export const canListProcesses = process.platform !== 'win32';

/** Id and parent's id of every process, without zombies. */
function processTable(): [number, number][] {
  if (!canListProcesses) return [];
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat='], { encoding: 'utf8' });
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , state]) => !state.startsWith('Z'))
    .map(([pid, parent]) => [Number(pid), Number(parent)]);
}

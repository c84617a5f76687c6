import type { DownloadProgress } from '../models/progress';
import { bytes } from './format';

/** `69 %  1.20 GB of 1.73 GB  12.3 MB/s  43 s left  model.safetensors`: a narrow terminal cuts off what matters least. */
export function downloadLine(progress: DownloadProgress): string {
  const { file, bytes: done, totalBytes, bytesPerSecond, secondsLeft, note } = progress;
  const share = totalBytes === 0 ? 100 : Math.floor((100 * done) / totalBytes);
  return [
    `${share} %`,
    `${bytes(done)} of ${bytes(totalBytes)}`,
    ...(note === undefined ? [] : [note]),
    ...(bytesPerSecond === undefined ? [] : [`${bytes(Math.round(bytesPerSecond))}/s`]),
    ...(secondsLeft === undefined ? [] : [`${duration(secondsLeft)} left`]),
    file ?? 'done',
  ].join('  ');
}

export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** In a log, a line this often is enough. */
const LOG_INTERVAL_MS = 5000;

/** One line that is rewritten in a terminal; a line now and then elsewhere. */
export class LinePrinter {
  #open = false;
  #printed = -Infinity;

  constructor(private readonly stream: NodeJS.WriteStream) {}

  /** @param important printed at once, also to a log. */
  print(line: string, important = false): void {
    if (this.stream.isTTY) {
      this.stream.write(`\r\x1b[2K${line.slice(0, (this.stream.columns || 80) - 1)}`);
      this.#open = true;
    } else if (important || performance.now() - this.#printed > LOG_INTERVAL_MS) {
      this.#printed = performance.now();
      this.stream.write(`${line}\n`);
    }
  }

  end(): void {
    if (this.#open) this.stream.write('\n');
    this.#open = false;
  }
}

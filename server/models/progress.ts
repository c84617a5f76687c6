export interface DownloadProgress {
  /** The file at work; undefined between files. */
  readonly file: string | undefined;
  /** Bytes that are here, with those of earlier tries. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Of the last seconds; undefined until it is known. */
  readonly bytesPerSecond: number | undefined;
  readonly secondsLeft: number | undefined;
  /** What else is going on: a pause before a new attempt, a check of what is here. */
  readonly note: string | undefined;
}

/** The rate is that of this long a time: long enough to be calm, short enough to follow the network. */
const WINDOW_MS = 10_000;
/** A rate over less than this says nothing. */
const SHORTEST_MS = 500;
/** Reports are not more frequent than this: a chunk is 64 kB, and nobody reads 1000 lines a second. */
const INTERVAL_MS = 200;

/** Counts bytes and tells the rate and the time left. */
export class ProgressMeter {
  #bytes: number;
  #file: string | undefined;
  #reported = -Infinity;
  /** Arrivals within the window, oldest first: time, and all bytes that had come over the network by then. */
  #samples: { time: number; received: number }[] = [];
  #received = 0;

  /** @param present bytes that are here before anything is fetched. */
  constructor(
    private readonly totalBytes: number,
    present: number,
    private readonly report: ((progress: DownloadProgress) => void) | undefined,
    private readonly now: () => number,
  ) {
    this.#bytes = present;
  }

  startFile(name: string, note?: string): void {
    this.#file = name;
    this.#tell(note, true);
  }

  /** Bytes came over the network. */
  received(bytes: number): void {
    const time = this.now();
    this.#bytes += bytes;
    this.#received += bytes;
    this.#samples.push({ time, received: this.#received });
    const keep = this.#samples.findIndex((sample) => sample.time > time - WINDOW_MS);
    // One sample from before the window stays: the rate is measured from it.
    if (keep > 1) this.#samples.splice(0, keep - 1);
    this.#tell(undefined, false);
  }

  /** Bytes that were counted turned out to be of no use (negative), or more were found to be here (positive). */
  adjust(bytes: number): void {
    this.#bytes += bytes;
    this.#tell(undefined, true);
  }

  note(text: string): void {
    // A pause must not look like a fast network afterwards, nor a break like a slow one.
    this.#samples = [];
    this.#tell(text, true);
  }

  finish(): void {
    this.#file = undefined;
    this.#tell(undefined, true);
  }

  #tell(note: string | undefined, atOnce: boolean): void {
    const time = this.now();
    if (!atOnce && time - this.#reported < INTERVAL_MS) return;
    this.#reported = time;
    const rate = this.#rate();
    this.report?.({
      file: this.#file,
      bytes: this.#bytes,
      totalBytes: this.totalBytes,
      bytesPerSecond: rate,
      secondsLeft: rate === undefined ? undefined : Math.max(0, this.totalBytes - this.#bytes) / rate,
      note,
    });
  }

  #rate(): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.time - first.time < SHORTEST_MS) return undefined;
    const rate = ((last.received - first.received) / (last.time - first.time)) * 1000;
    return rate > 0 ? rate : undefined;
  }
}

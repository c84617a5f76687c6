/** Values by key, of which those that were not used for longest leave when there are too many or they are too large together. */
export class LeastRecentlyUsed<Value> {
  /** In order of last use. */
  private readonly entries = new Map<string, { value: Value; bytes: number }>();
  private total = 0;

  constructor(
    private readonly maxEntries: number,
    private readonly maxBytes = Infinity,
    /** Told of every value that is no longer kept, unless it was taken. */
    private readonly onLeave: (value: Value) => void = () => undefined,
  ) {}

  /** Bytes of all values that are kept. */
  get bytes(): number {
    return this.total;
  }

  get size(): number {
    return this.entries.size;
  }

  /** The value, which now counts as used; `accepts` may refuse it. */
  get(key: string, accepts: (value: Value) => boolean = () => true): Value | undefined {
    const entry = this.entries.get(key);
    if (!entry || !accepts(entry.value)) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  /** The value, which is no longer kept. */
  take(key: string): Value | undefined {
    return this.remove(key)?.value;
  }

  /** Keeps a value in place of an earlier one of the same key; one that is too large by itself is not kept. */
  set(key: string, value: Value, bytes = 0): void {
    this.leave(key);
    if (bytes > this.maxBytes) {
      this.onLeave(value);
      return;
    }
    this.entries.set(key, { value, bytes });
    this.total += bytes;
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= this.maxEntries && this.total <= this.maxBytes) break;
      this.leave(oldest);
    }
  }

  clear(): void {
    for (const key of [...this.entries.keys()]) this.leave(key);
  }

  private leave(key: string): void {
    const entry = this.remove(key);
    if (entry) this.onLeave(entry.value);
  }

  private remove(key: string): { value: Value; bytes: number } | undefined {
    const entry = this.entries.get(key);
    this.total -= entry?.bytes ?? 0;
    this.entries.delete(key);
    return entry;
  }
}

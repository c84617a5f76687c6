// How the parts of a run went: each is told as it ends, and all are counted in the end.

export class Report {
  #passed = [];
  #second = [];
  #failed = [];
  #notRun = [];
  #deadline;

  /** @param {number} minutes after which no further part is begun */
  constructor(minutes) {
    this.#deadline = Date.now() + minutes * 60_000;
  }

  /** Whether the time for this run is used up. */
  get isOver() {
    return Date.now() > this.#deadline;
  }

  /**
   * Runs one part.
   * @param {string} name
   * @param {() => Promise<void>} work
   * @param {() => Promise<void>} [renew] makes everything as it was before, after a failure: then the part is tried once more. A part that
   *   passes only then counts as passed, and is named in the summary.
   */
  async step(name, work, renew) {
    const start = Date.now();
    const seconds = () => `${((Date.now() - start) / 1000).toFixed(1)} s`;
    const failed = (error, what) =>
      console.log(`${what}  ${name} (${seconds()})\n${indent(error.stack ?? String(error))}`);
    try {
      await work();
      console.log(`ok      ${name} (${seconds()})`);
      this.#passed.push(name);
      return;
    } catch (error) {
      failed(error, renew ? 'RETRY ' : 'FAILED');
      if (!renew) return void this.#failed.push(name);
    }
    try {
      await renew();
      await work();
      console.log(`ok      ${name} (${seconds()}), at the second try`);
      this.#second.push(name);
    } catch (error) {
      failed(error, 'FAILED');
      this.#failed.push(name);
    }
  }

  get passed() {
    return this.#passed.length + this.#second.length;
  }

  /** Notes a part for which there is no time left. */
  skip(name) {
    this.#notRun.push(name);
  }

  /** Prints the counts. @returns {boolean} whether nothing failed, and something passed */
  finish() {
    for (const name of this.#second) console.log(`Passed at the second try: ${name}`);
    for (const name of this.#failed) console.log(`Failed: ${name}`);
    for (const name of this.#notRun) console.log(`Not run, because the time for this run was over: ${name}`);
    console.log(
      `${this.passed} passed (${this.#second.length} at the second try), ${this.#failed.length} failed, ${this.#notRun.length} not run`,
    );
    return this.#failed.length === 0 && this.passed > 0;
  }
}

function indent(text) {
  return text.replace(/^/gm, '        ');
}

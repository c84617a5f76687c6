/** Milliseconds that passed, and milliseconds that all threads of this process computed meanwhile. */
export interface Lap {
  readonly wall: number;
  readonly cpu: number;
}

/**
 * Wall time is what a user waits for, processor time is what the work costs: on a machine that others use as well, the second is
 * the one that can be compared.
 */
export class Clock {
  private wall = performance.now();
  private cpu = process.cpuUsage();

  /** Since the last lap, or since the clock was made. */
  lap(): Lap {
    const wall = performance.now();
    const cpu = process.cpuUsage();
    const lap = {
      wall: wall - this.wall,
      cpu: (cpu.user + cpu.system - this.cpu.user - this.cpu.system) / 1000,
    };
    this.wall = wall;
    this.cpu = cpu;
    return lap;
  }
}

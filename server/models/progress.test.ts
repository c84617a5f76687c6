import { describe, expect, it } from 'vitest';

import { ProgressMeter, type DownloadProgress } from './progress';

function meter(total: number, present = 0) {
  const clock = { now: 0 };
  const reports: DownloadProgress[] = [];
  const meter = new ProgressMeter(
    total,
    present,
    (progress) => reports.push(progress),
    () => clock.now,
  );
  return { clock, reports, meter };
}

describe('the progress of a download', () => {
  it('tells rate and time left of a steady line', () => {
    const { clock, reports, meter: steady } = meter(10_000, 1000);
    for (let second = 1; second <= 5; second++) {
      clock.now = second * 1000;
      steady.received(500);
    }
    expect(reports.at(-1)).toMatchObject({ bytes: 3500, bytesPerSecond: 500, secondsLeft: 13 });
  });

  it('follows the line when it becomes slower', () => {
    const { clock, reports, meter: slowing } = meter(1e9);
    for (let tick = 1; tick <= 100; tick++) {
      clock.now = tick * 1000;
      slowing.received(tick <= 50 ? 100_000 : 1000);
    }
    expect(reports.at(-1)?.bytesPerSecond).toBe(1000);
  });

  it('counts neither what was here nor a pause as speed', () => {
    const { clock, reports, meter: resumed } = meter(10_000, 9000);
    clock.now = 1000;
    resumed.received(100);
    expect(reports.at(-1)?.bytesPerSecond).toBeUndefined();
    clock.now = 60_000;
    resumed.note('The connection broke. Next attempt in 1 s.');
    clock.now = 61_000;
    resumed.received(100);
    clock.now = 62_000;
    resumed.received(100);
    expect(reports.at(-1)).toMatchObject({ bytes: 9300, bytesPerSecond: 100, secondsLeft: 7 });
  });

  it('is not told more often than anyone can read', () => {
    const { clock, reports, meter: busy } = meter(1e6);
    for (let tick = 0; tick < 1000; tick++) {
      clock.now = tick;
      busy.received(1);
    }
    expect(reports.length).toBe(5);
  });

  it('does not say how long it takes before it knows', () => {
    const { reports, meter: fresh } = meter(100);
    fresh.startFile('config.json');
    expect(reports.at(-1)).toMatchObject({
      bytesPerSecond: undefined,
      secondsLeft: undefined,
      file: 'config.json',
    });
  });
});

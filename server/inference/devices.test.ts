import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { CancelledError, DeviceError } from '../llava/errors';
import type { DeviceChoice, DevicePlan } from '../llava/runtime/device';
import { temporaryDirectory } from '../llava/testing/temporaryDirectory';
import { InferenceChild } from './child';
import { Devices } from './devices';
import { tryDevice, verdictOf } from './deviceTrial';
import { type DeviceVerdict, VerdictFile } from './deviceVerdicts';

const WEBGPU: DevicePlan = { device: 'webgpu', attention: 'plain' };
const PASSED: DeviceVerdict = { outcome: 'passed', worst: 2e-6, speedup: 5 };

const options = () => ({ signal: new AbortController().signal });

/** A program that speaks the inference process's protocol and answers a test as `script` says. */
function program(script: string): string {
  const file = path.join(temporaryDirectory(), 'probe.cjs');
  writeFileSync(
    file,
    `const report = (error, speed = { cpu: 10, device: 2 }) =>
       ({ offered: ['cpu', 'webgpu'], speed, cases: [{ name: 'attention', error: 1e-7, tolerance: 1e-3 }, { name: 'norms', error, tolerance: 1e-3 }] });
     process.on('disconnect', () => process.exit());
     process.on('message', async ({ id, name, params }) => {
       const done = (result) => process.send({ kind: 'done', id, result, memoryBytes: 1 });
       const fail = (message, why) => process.send({ kind: 'failed', id, memoryBytes: 1, error: { code: 'x', kind: 'device', message, why, nextStep: '' } });
       ${script}
     });`,
  );
  return file;
}

describe('a device is tested in a process that may be lost', () => {
  const test = (script: string, limitMilliseconds = 20_000): Promise<DeviceVerdict> => {
    const file = program(script);
    return tryDevice(
      () => new InferenceChild(file, () => undefined),
      { plan: WEBGPU, onlyIfFaster: true },
      { ...options(), limitMilliseconds },
    );
  };

  it('passes', async () => {
    expect(await test('done(report(2e-6))')).toEqual(PASSED);
  });

  it.each([
    [
      'SIGSEGV',
      "console.error('lost the adapter'); process.kill(process.pid, 'SIGSEGV')",
      /SIGSEGV.*lost the adapter/,
    ],
    ['SIGABRT', "process.kill(process.pid, 'SIGABRT')", /SIGABRT/],
    ['an exit code', 'process.exit(7)', /exit code 7/],
  ])('crashes with %s', async (_, script, why) => {
    const verdict = await test(script);
    expect(verdict.outcome).toBe('crashed');
    expect((verdict as { why: string }).why).toMatch(why);
  });

  it('hangs, and is killed', async () => {
    const pidFile = path.join(temporaryDirectory(), 'pid');
    const script = `require('fs').writeFileSync(${JSON.stringify(pidFile)}, String(process.pid)); for (;;);`;
    expect(await test(script, 1500)).toEqual({ outcome: 'hung', seconds: 1.5 });
    expect(() => process.kill(Number(readFileSync(pidFile, 'utf8')), 0)).toThrow();
  });

  it('throws', async () => {
    expect(await test("fail('The model could not be loaded.', 'No supported adapters')")).toEqual({
      outcome: 'failed',
      why: 'No supported adapters',
    });
  });

  it('computes wrong numbers', async () => {
    expect(await test('done(report(0.4))')).toEqual({ outcome: 'wrong', worst: 0.4, where: 'norms' });
  });

  it('computes NaN', async () => {
    expect(await test('done(report(NaN))')).toEqual({ outcome: 'wrong', worst: null, where: 'norms' });
  });

  it('cannot be started', async () => {
    const missing = path.join(temporaryDirectory(), 'nothing.cjs');
    const verdict = await tryDevice(
      () => new InferenceChild(missing, () => undefined),
      { plan: WEBGPU, onlyIfFaster: true },
      options(),
    );
    expect(verdict.outcome).toBe('crashed');
  });

  it('ends at once when the user cancels', async () => {
    const controller = new AbortController();
    const file = program('for (;;);');
    const work = tryDevice(
      () => new InferenceChild(file, () => undefined),
      { plan: WEBGPU, onlyIfFaster: true },
      { signal: controller.signal },
    );
    setTimeout(() => controller.abort(), 200);
    await expect(work).rejects.toBeInstanceOf(CancelledError);
  });
});

describe('what a report says', () => {
  const good = { name: 'attention', error: 1e-6, tolerance: 1e-3 };
  const speed = { cpu: 10, device: 2 };

  it('nothing good of a device that is not offered', () => {
    const report = { offered: ['cpu'], speed: undefined, cases: [] };
    expect(verdictOf(WEBGPU, report)).toMatchObject({
      outcome: 'failed',
      why: expect.stringContaining('cpu'),
    });
  });

  it('slow, where the numbers were not tested', () => {
    const report = { offered: ['webgpu'], speed: { cpu: 1, device: 50 }, cases: [] };
    expect(verdictOf(WEBGPU, report)).toEqual({ outcome: 'slow', speedup: 0.02 });
  });

  it('the error at the tolerance passes, one above does not', () => {
    const at = (error: number): DeviceVerdict =>
      verdictOf(WEBGPU, { offered: ['webgpu'], speed, cases: [good, { ...good, error }] });
    expect(at(1e-3).outcome).toBe('passed');
    expect(at(1.01e-3).outcome).toBe('wrong');
    expect(at(Infinity)).toMatchObject({ outcome: 'wrong', worst: null });
  });

  it('the largest error in float32, beside that of 4-bit products', () => {
    const cases = [good, { name: '4-bit product', error: 0.01, tolerance: 0.03 }];
    expect(verdictOf(WEBGPU, { offered: ['webgpu'], speed, cases })).toMatchObject({ worst: 1e-6 });
    const wrong = [good, { name: '4-bit product', error: 0.04, tolerance: 0.03 }];
    expect(verdictOf(WEBGPU, { offered: ['webgpu'], speed, cases: wrong }).outcome).toBe('wrong');
  });

  it('NaN counts before a large error', () => {
    const cases = [
      { ...good, error: 5 },
      { ...good, name: 'norms', error: NaN },
    ];
    expect(verdictOf(WEBGPU, { offered: ['webgpu'], speed, cases })).toMatchObject({
      where: 'norms',
      worst: null,
    });
  });
});

/** Devices with scripted outcomes, and the tests that were made. */
function devices(
  outcomes: Record<string, DeviceVerdict>,
  given: { file?: string; driver?: string; platform?: NodeJS.Platform; now?: () => number } = {},
): { devices: Devices; tests: string[]; log: string[] } {
  const tests: string[] = [];
  const log: string[] = [];
  const file = given.file ?? path.join(temporaryDirectory(), 'devices.json');
  return {
    tests,
    log,
    devices: new Devices({
      test: async ({ plan, onlyIfFaster }) => {
        const kind = [plan.device, plan.attention, ...(plan.float ? [plan.float] : [])].join(' ');
        tests.push(`${kind}${onlyIfFaster ? ' if faster' : ''}`);
        const missing: DeviceVerdict = { outcome: 'failed', why: 'No adapter' };
        return outcomes[kind] ?? outcomes[plan.device] ?? missing;
      },
      verdicts: new VerdictFile(file, given.now),
      log: (line) => log.push(line),
      platform: given.platform ?? 'linux',
      identity: async () => given.driver ?? 'driver 1',
    }),
  };
}

describe('auto', () => {
  it.each([
    ['linux', ['cuda', 'webgpu']],
    ['win32', ['cuda', 'webgpu', 'dml']],
    ['darwin', ['webgpu', 'coreml']],
    ['freebsd', []],
  ] as const)('tries on %s all that there may be', async (platform, order) => {
    const { devices: found, tests } = devices({}, { platform });
    const { plan } = await found.choose('auto', options());
    expect(plan).toEqual({ device: 'cpu', attention: 'plain' });
    expect(tests).toEqual(order.map((device) => `${device} plain if faster`));
  });

  it('takes the fastest that passes', async () => {
    const { devices: found, tests } = devices({ cuda: { ...PASSED, speedup: 3 }, webgpu: PASSED });
    expect((await found.choose('auto', options())).plan.device).toBe('webgpu');
    expect(tests).toEqual(['cuda plain if faster', 'webgpu plain if faster', 'webgpu fused']);
    const other = devices({ cuda: { ...PASSED, speedup: 7 }, webgpu: PASSED });
    expect((await other.devices.choose('auto', options())).plan.device).toBe('cuda');
  });

  it('says what it took, and why not the others', async () => {
    const { devices: found, log } = devices({ webgpu: PASSED });
    const { plan, note } = await found.choose('auto', options());
    expect(plan.device).toBe('webgpu');
    expect(note).toMatch(/passed the self-test \(largest error 2e-6\), 5\.0 times as fast as the CPU/);
    expect(log.join('\n')).toMatch(/cuda.*No adapter[^]*webgpu/);
  });

  it.each<[string, DeviceVerdict, RegExp]>([
    ['crashed', { outcome: 'crashed', why: 'A driver failed (SIGSEGV).' }, /SIGSEGV/],
    ['hung', { outcome: 'hung', seconds: 180 }, /did not end within 180 seconds/],
    [
      'wrong',
      { outcome: 'wrong', worst: 0.37, where: 'attention' },
      /wrong numbers \(attention: error 0\.37\)/,
    ],
    ['NaN', { outcome: 'wrong', worst: null, where: 'attention' }, /not a number/],
    ['missing', { outcome: 'failed', why: 'No supported adapters' }, /No supported adapters/],
    ['slow', { outcome: 'slow', speedup: 0.02 }, /only 2\.0 % as fast/],
    ['right but slower', { outcome: 'passed', worst: 1e-6, speedup: 0.5 }, /only 50 % as fast/],
  ])('falls back to the CPU when the others are %s, and says why', async (_, verdict, words) => {
    const { devices: found } = devices({ webgpu: verdict });
    const { plan, note } = await found.choose('auto', options());
    expect(plan.device).toBe('cpu');
    expect(note).toMatch(/^The CPU/);
    expect(note).toMatch(words);
  });
});

it('auto is the CPU, untested, for a precision that only the CPU has', async () => {
  const { devices: found, tests } = devices({ webgpu: PASSED });
  const { plan } = await found.choose('auto', { ...options(), precision: 'q4q8' });
  expect(plan.device).toBe('cpu');
  expect(tests).toEqual([]);
});

describe('a device by name', () => {
  it('the CPU needs no test', async () => {
    const { devices: found, tests } = devices({});
    expect(await found.choose('cpu', options())).toEqual({
      plan: { device: 'cpu', attention: 'plain' },
      note: undefined,
    });
    expect(tests).toEqual([]);
  });

  it('is used although it is slow: its numbers are tested all the same', async () => {
    const file = path.join(temporaryDirectory(), 'devices.json');
    await devices({ webgpu: { outcome: 'slow', speedup: 0.02 } }, { file }).devices.choose('auto', options());
    const slow: DeviceVerdict = { outcome: 'passed', worst: 1e-6, speedup: 0.02 };
    const { devices: found, tests } = devices({ webgpu: slow }, { file });
    const { plan, note } = await found.choose('webgpu', options());
    expect(plan.device).toBe('webgpu');
    expect(note).toMatch(/only 2\.0 % as fast/);
    expect(tests[0]).toBe('webgpu plain');
  });

  it.each<[string, DeviceVerdict]>([
    ['device.crashed', { outcome: 'crashed', why: 'SIGSEGV' }],
    ['device.hung', { outcome: 'hung', seconds: 180 }],
    ['device.wrong', { outcome: 'wrong', worst: 0.4, where: 'attention' }],
    ['device.unavailable', { outcome: 'failed', why: 'No adapter' }],
  ])('is not replaced: %s', async (code, verdict) => {
    const { devices: found } = devices({ webgpu: verdict });
    const error = await found.choose('webgpu', options()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DeviceError);
    expect(error).toMatchObject({ code, nextStep: expect.stringContaining('cpu') });
  });
});

describe('half precision', () => {
  const half = (): ReturnType<typeof options> & { precision: 'fp16' } => ({
    ...options(),
    precision: 'fp16',
  });

  it('has a test of its own, which nothing that was found in float32 replaces', async () => {
    const file = path.join(temporaryDirectory(), 'devices.json');
    await devices({ webgpu: PASSED }, { file }).devices.choose('auto', options());
    const { devices: found, tests } = devices({ webgpu: PASSED }, { file });
    expect((await found.choose('webgpu', half())).plan).toEqual({
      device: 'webgpu',
      attention: 'fused',
      float: 'float16',
    });
    expect(tests).toEqual(['webgpu plain float16', 'webgpu fused float16']);
    // Both are kept.
    const later = devices({}, { file });
    expect((await later.devices.choose('webgpu', half())).plan.float).toBe('float16');
    expect((await later.devices.choose('webgpu', options())).plan.float).toBeUndefined();
    expect(later.tests.filter((test) => test.startsWith('webgpu'))).toEqual([]);
  });

  it.each<[DeviceChoice, string]>([
    ['auto', 'No adapter'],
    ['cpu', 'the CPU widens it'],
    ['cuda', 'it is for webgpu'],
  ])('is not replaced by another one on %s', async (choice, why) => {
    const error = await devices({})
      .devices.choose(choice, half())
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DeviceError);
    expect(error).toMatchObject({
      code: 'device.no-half-precision',
      why: expect.stringContaining(why),
      nextStep: expect.stringContaining('q4'),
    });
  });

  it('is no reason to run on a device that computes it wrong', async () => {
    const wrong: DeviceVerdict = { outcome: 'wrong', worst: 0.4, where: 'attention' };
    const { devices: found } = devices({ webgpu: PASSED, 'webgpu plain float16': wrong });
    expect((await found.choose('webgpu', options())).plan.device).toBe('webgpu');
    const error = await found.choose('webgpu', half()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'device.wrong' });
  });
});

describe('the fused attention kernel', () => {
  it('is used where it is right', async () => {
    const { devices: found } = devices({ webgpu: PASSED });
    expect((await found.choose('auto', options())).plan).toEqual({ device: 'webgpu', attention: 'fused' });
  });

  it.each<[string, DeviceVerdict, RegExp]>([
    ['is wrong', { outcome: 'wrong', worst: 0.07, where: 'attention over the prompt' }, /error 0\.070/],
    ['takes its process down', { outcome: 'crashed', why: 'SIGABRT' }, /SIGABRT/],
    ['hangs', { outcome: 'hung', seconds: 180 }, /180 seconds/],
  ])('gives way to plain attention where it %s, and the user is told', async (_, verdict, words) => {
    for (const choice of ['auto', 'webgpu'] as const) {
      const { devices: found } = devices({ 'webgpu plain': PASSED, 'webgpu fused': verdict });
      const { plan, note } = await found.choose(choice, options());
      expect(plan).toEqual({ device: 'webgpu', attention: 'plain' });
      expect(note).toMatch(/step by step/);
      expect(note).toMatch(words);
    }
  });

  it('is not tested where plain attention fails already', async () => {
    const { devices: found, tests } = devices({ webgpu: { outcome: 'hung', seconds: 180 } });
    await found.testAll(options());
    expect(tests).not.toContain('webgpu fused');
  });

  it('is not tried on devices that have none', async () => {
    const { devices: found, tests } = devices({ cuda: PASSED });
    expect((await found.choose('auto', options())).plan).toEqual({ device: 'cuda', attention: 'plain' });
    expect(tests).toEqual(['cuda plain if faster', 'webgpu plain if faster']);
  });
});

describe('verdicts are kept', () => {
  const file = (): string => path.join(temporaryDirectory(), 'cache', 'devices.json');

  it('for the same driver, and no longer', async () => {
    const where = file();
    await devices({ webgpu: PASSED }, { file: where }).devices.choose('auto', options());
    const again = devices({}, { file: where });
    expect((await again.devices.choose('auto', options())).plan.device).toBe('webgpu');
    expect(again.tests).toEqual([]);

    const updated = devices({}, { file: where, driver: 'driver 2' });
    expect((await updated.devices.choose('auto', options())).plan.device).toBe('cpu');
    expect(updated.tests).toContain('webgpu plain if faster');
    // The old driver's verdict has made place for the new one's.
    const content = JSON.parse(readFileSync(where, 'utf8')) as { entries: { subject: { driver: string } }[] };
    expect(content.entries.map(({ subject }) => subject.driver)).not.toContain('driver 1');
    expect(readdirSync(path.dirname(where))).toEqual(['devices.json']);
  });

  it.each([
    ['cut off', (text: string) => text.slice(0, text.length / 2)],
    ['not JSON', () => '\0\0\0'],
    ['of another format', (text: string) => text.replace('"version": 1', '"version": 99')],
    ['without a verdict', (text: string) => text.replace('"outcome": "passed"', '"outcome": "fine"')],
    ['with NaN for an error', (text: string) => text.replace(/"worst": [^,]+/, '"worst": null')],
    [
      'of another onnxruntime',
      (text: string) => text.replaceAll(/"runtime": "[^"]+"/g, '"runtime": "0.1.0"'),
    ],
    ['of another self-test', (text: string) => text.replaceAll(/"selfTest": \d+/g, '"selfTest": 0')],
  ])('a file that is %s is not believed', async (_, damage) => {
    const where = file();
    await devices({ webgpu: PASSED }, { file: where }).devices.choose('auto', options());
    const before = readFileSync(where, 'utf8');
    writeFileSync(where, damage(before));
    expect(readFileSync(where, 'utf8')).not.toBe(before);
    const { devices: found, tests } = devices({ webgpu: PASSED }, { file: where });
    await found.choose('auto', options());
    expect(tests).toContain('webgpu plain if faster');
  });

  it('failures for a week, successes as long as the driver', async () => {
    const where = file();
    const week = 7 * 24 * 60 * 60 * 1000;
    const at = (time: number) =>
      devices(
        { cuda: { outcome: 'crashed', why: 'SIGSEGV' }, webgpu: PASSED },
        { file: where, now: () => time },
      );
    await at(0).devices.choose('auto', options());
    const soon = at(week - 1);
    await soon.devices.choose('auto', options());
    expect(soon.tests).toEqual([]);
    const late = at(week + 1);
    await late.devices.choose('auto', options());
    expect(late.tests).toEqual(['cuda plain if faster']);
  });

  it('until they are to be forgotten', async () => {
    const where = file();
    const { devices: found, tests } = devices({ webgpu: PASSED }, { file: where });
    await found.choose('auto', options());
    const made = tests.length;
    await found.forget('failures');
    await found.choose('auto', options());
    expect(tests.slice(made)).toEqual(['cuda plain if faster']);
    await found.forget('all');
    await found.choose('auto', options());
    expect(tests.slice(made + 1)).toContain('webgpu plain if faster');
  });

  it('in memory where the file cannot be written', async () => {
    const folder = temporaryDirectory();
    writeFileSync(path.join(folder, 'occupied'), '');
    const { devices: found, tests } = devices(
      { webgpu: PASSED },
      { file: path.join(folder, 'occupied', 'devices.json') },
    );
    await found.choose('auto', options());
    const made = tests.length;
    expect((await found.choose('auto', options())).plan.device).toBe('webgpu');
    expect(tests).toHaveLength(made);
  });
});

import { type DeviceReport, explain } from '../inference/devices';
import type { DevicesCommand } from './arguments';
import { machineDevices } from './openModel';
import { progressLine } from './progress';
import { textTable } from './table';

/** `fovea devices`: what was found out about every device, testing what is not known yet, and what `auto` makes of it. */
export async function devices(command: DevicesCommand, signal: AbortSignal): Promise<void> {
  const known = machineDevices();
  const progress = progressLine();
  const options = { signal, onProgress: progress.show };
  if (command.retest) await known.forget('all');
  const reports = await known.testAll(options);
  const { plan, note } = await known.choose('auto', options);
  progress.clear();
  if (command.json) {
    process.stdout.write(`${JSON.stringify({ chosen: plan, note, devices: reports })}\n`);
    return;
  }
  const rows = reports.map((report) => [
    report.device,
    `${report.attention}${report.float === 'float16' ? ', fp16' : ''}`,
    report.tested ? report.tested.testedAt.slice(0, 10) : '-',
    outcome(report),
  ]);
  rows.push(['cpu', 'plain', '-', 'what the others are compared with']);
  process.stdout.write(`${textTable(['device', 'attention', 'tested', 'result'], rows, 'left')}\n\n`);
  process.stdout.write(`auto: ${plan.device}. ${note ?? ''}\n`);
}

/** What was tested, in words: `webgpu (fused attention)`. */
export function planWords({ device, attention, float }: DeviceReport): string {
  const details = [
    ...(attention === 'fused' ? ['fused attention'] : []),
    ...(float === 'float16' ? ['half precision'] : []),
  ];
  return details.length > 0 ? `${device} (${details.join(', ')})` : device;
}

/** A report in words. */
export function outcome({ tested }: DeviceReport): string {
  if (!tested) return 'not tested';
  return explain(tested.verdict);
}

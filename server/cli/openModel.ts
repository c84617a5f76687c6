import path from 'node:path';

import { InferenceChild } from '../inference/child';
import { Devices } from '../inference/devices';
import { tryDevice } from '../inference/deviceTrial';
import { VerdictFile } from '../inference/deviceVerdicts';
import { defaultCacheDirectory } from '../llava/cacheDirectory';
import type { PrecisionChoice } from '../llava/checkpoint/precision';
import { LlavaModel } from '../llava/model';
import type { DeviceChoice } from '../llava/runtime/device';
import type { ProgressLine } from './progress';

/** The devices of this machine, tested in processes of their own: the inference program beside this one. */
export function machineDevices(): Devices {
  const program = path.join(__dirname, 'inference.js');
  return new Devices({
    test: (test, options) => tryDevice(() => new InferenceChild(program, () => undefined), test, options),
    verdicts: VerdictFile.in(defaultCacheDirectory()),
    log: () => undefined,
  });
}

/** Chooses the device, which may mean to test it first, and opens the model on it. */
export async function openModel(
  command: {
    readonly model: string;
    readonly device: DeviceChoice;
    readonly precision: PrecisionChoice;
  },
  signal: AbortSignal,
  progress: ProgressLine,
): Promise<LlavaModel> {
  const { plan, note } = await machineDevices().choose(command.device, {
    signal,
    precision: command.precision,
    onProgress: progress.show,
  });
  progress.clear();
  if (plan.device !== 'cpu' && note !== undefined) process.stderr.write(`${plan.device}: ${note}\n`);
  const { precision } = command;
  return LlavaModel.open(command.model, { plan, precision, signal, onProgress: progress.show });
}

import { listSupportedBackends } from 'onnxruntime-node';

import { DeviceError } from '../errors';
import type { Device } from './session';

export type DeviceChoice = Device | 'auto';

export const DEVICE_CHOICES: readonly DeviceChoice[] = ['auto', 'cpu', 'webgpu', 'cuda', 'dml', 'coreml'];

/**
 * The device to run on. `auto` is the CPU until the probe and self-test of a GPU exist: a driver may crash the
 * process or compute wrong attention, so no GPU is chosen unasked.
 *
 * @throws DeviceError where this build of onnxruntime does not offer the device at all.
 */
export async function chooseDevice(choice: DeviceChoice): Promise<Device> {
  if (choice === 'auto' || choice === 'cpu') return 'cpu';
  const offered = listSupportedBackends().map((backend) => backend.name);
  if (!offered.includes(choice)) {
    throw new DeviceError({
      code: 'device.unavailable',
      message: `The device "${choice}" is not available on this machine.`,
      why: `onnxruntime offers here: ${offered.join(', ')}.`,
      nextStep: 'Choose one of these, or "auto".',
    });
  }
  return choice;
}

import type { FloatType } from '../graph/onnx';

/** Where graphs run: onnxruntime's execution providers by name. */
export type Device = 'cpu' | 'webgpu' | 'cuda' | 'dml' | 'coreml';

export type DeviceChoice = Device | 'auto';

export const DEVICE_CHOICES: readonly DeviceChoice[] = ['auto', 'cpu', 'webgpu', 'cuda', 'dml', 'coreml'];

/**
 * How attention is computed on a device. `plain`: products and softmax, node by node. `fused`: one kernel that never
 * writes the whole matrix of probabilities; faster, and wrong on some adapters.
 */
export type AttentionKernel = 'plain' | 'fused';

/** A device, and what was found right on it. */
export interface DevicePlan {
  readonly device: Device;
  readonly attention: AttentionKernel;
  /** What graphs compute in and caches are kept in; half precision on devices that keep them only. @default 'float32' */
  readonly float?: FloatType;
}

export const CPU_PLAN: DevicePlan = { device: 'cpu', attention: 'plain' };

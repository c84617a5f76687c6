import type { Tensor } from 'onnxruntime-node';

/** A matrix [rows, columns] in a device's memory. Whoever holds it disposes of the tensor. */
export interface DeviceMatrix {
  readonly tensor: Tensor;
  readonly rows: number;
  readonly columns: number;
}

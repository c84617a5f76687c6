import { InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node';

import { elementCount } from '../checkpoint/checkpoint';
import { DeviceError } from '../errors';
import type { FloatType, OnnxModel } from '../graph/onnx';
import type { Device } from './device';

/** Tensors by input or output name. */
export type Tensors = Record<string, Tensor>;

/** The devices that this build of onnxruntime knows; whether they work is another question. */
export function offeredDevices(): string[] {
  return listSupportedBackends().map((backend) => backend.name);
}

/** @throws DeviceError where this build of onnxruntime does not know the device at all. */
export function requireOffered(device: Device): void {
  const offered = offeredDevices();
  if (offered.includes(device)) return;
  throw new DeviceError({
    code: 'device.unavailable',
    message: `The device "${device}" is not available on this machine.`,
    why: `onnxruntime offers here: ${offered.join(', ')}.`,
    nextStep: 'Choose one of these, or "auto".',
  });
}

/** Where each output is left: on the device, or in this process. */
export type OutputPlaces = Record<string, 'cpu' | 'gpu-buffer'>;

/** Tensors that sessions have left on a device: whoever gives one up says so to the tensor itself. */
export class DeviceTensors {
  private readonly tensors = new Set<Tensor>();

  add(tensor: Tensor): void {
    if (tensor.location !== 'gpu-buffer') return;
    if (this.tensors.size >= MANY) {
      for (const other of this.tensors) if (other.location !== 'gpu-buffer') this.tensors.delete(other);
    }
    this.tensors.add(tensor);
  }

  /** Gives up all of them: one that outlives the sessions of its device takes the process down when it is collected. */
  dispose(): void {
    for (const tensor of this.tensors) if (tensor.location === 'gpu-buffer') tensor.dispose();
    this.tensors.clear();
  }
}

/** Tensors that are remembered until those that were given up are looked for. */
const MANY = 1024;

/** One loaded graph. */
export class Session {
  private constructor(
    private readonly session: InferenceSession,
    private readonly left: DeviceTensors | undefined,
  ) {}

  /**
   * @throws DeviceError where the device is not available or cannot take the graph. There is no silent fall-back: the
   * caller decides, and tells the user.
   *
   * @param places outputs that stay on the device; without it all come to this process.
   * @param left remembers those that did.
   */
  static async create(
    model: OnnxModel,
    device: Device,
    places?: OutputPlaces,
    left?: DeviceTensors,
  ): Promise<Session> {
    const configuration: Record<string, string> = {
      // Prepacking would copy every mapped weight into private memory (135 MB instead of 7 for a 134 MB matrix).
      disable_prepacking: model.prepack ? '0' : '1',
      // Between two kernels of a step lie some microseconds, and a thread that sleeps takes longer to wake up. One that spins for
      // long takes the cores from other programs, and from the threads of our own other sessions. Runs in turn on 2 cores, 4-bit
      // SmolLM2 shape: a step takes 9.1 ms without, 7.5 ms with 20 us and 7.3 ms without a bound (fastest runs); among six programs that
      // want both cores its processor time is 14, 13 and 26 ms.
      'intra_op.allow_spinning': '1',
      'intra_op.spin_duration_us': '20',
    };
    if (model.weightsFolder !== undefined) {
      configuration.model_external_initializers_file_folder_path = model.weightsFolder;
    }
    try {
      return new Session(
        await InferenceSession.create(model.bytes, {
          executionProviders: [device],
          // In this process's memory the CPU's outputs are where it computes.
          ...(places && device !== 'cpu' && { preferredOutputLocation: places }),
          // 3 = errors only: onnxruntime warns on stderr about things that are as they should be.
          logSeverityLevel: 3,
          // A pattern is a second block of memory for all tensors of a run of the same shape: 500 MB for a 135M decoder at 600 tokens,
          // and no time saved.
          enableMemPattern: false,
          extra: { session: configuration },
        }),
        places && left,
      );
    } catch (error) {
      throw new DeviceError({
        code: 'device.session-failed',
        message: `The model could not be loaded on the device "${device}".`,
        why: firstLine(error),
        nextStep:
          device === 'cpu'
            ? 'Close other programs if memory is short, or choose a smaller model.'
            : 'Choose another device (--device cpu always works), or update the graphics driver.',
        cause: error,
      });
    }
  }

  /**
   * Runs the graph. Blocks the thread while it computes; the event loop turns once before.
   *
   * @param outputs tensors that the outputs of their names are written into: for sessions without `places`, where a device's tensors may be inputs at the
   * same time. They stay the caller's, and are not to be read from the result.
   */
  async run(feeds: Tensors, outputs?: Tensors): Promise<Tensors> {
    try {
      if (!outputs) {
        const results = (await this.session.run(feeds)) as Tensors;
        if (this.left) for (const tensor of Object.values(results)) this.left.add(tensor);
        return results;
      }
      const fetches = Object.fromEntries(
        this.session.outputNames.map((name) => [name, outputs[name] ?? null]),
      );
      return (await this.session.run(feeds, fetches)) as Tensors;
    } catch (error) {
      throw new DeviceError({
        code: 'device.run-failed',
        message: 'The computation failed on the device.',
        why: firstLine(error),
        nextStep: 'Close other programs if memory is short, or choose --device cpu or a smaller model.',
        cause: error,
      });
    }
  }

  async dispose(): Promise<void> {
    await this.session.release();
  }
}

export function floatTensor(data: Float32Array, dimensions: readonly number[]): Tensor {
  return new Tensor('float32', data, dimensions);
}

/** Zeros of either type. */
export function zeroTensor(type: FloatType, dimensions: readonly number[]): Tensor {
  const size = elementCount(dimensions);
  return type === 'float32'
    ? floatTensor(new Float32Array(size), dimensions)
    : new Tensor(type, new Uint16Array(size), dimensions);
}

export function idTensor(ids: ArrayLike<number>): Tensor {
  return new Tensor('int64', BigInt64Array.from(ids as number[], BigInt), [ids.length]);
}

export function int32Scalar(value: number): Tensor {
  return new Tensor('int32', Int32Array.of(value), []);
}

/** The data of a float output in this process. Every one is a fresh buffer of its own, so the caller may keep it. */
export function floats(tensor: Tensor): Float32Array {
  return tensor.data as Float32Array;
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  // onnxruntime's checks begin with the place and the condition in its sources; what follows is for people.
  return text.split('\n')[0].replace(/^\/\S*onnxruntime\S*:\d+ .* was false\. /, '');
}

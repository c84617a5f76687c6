/** From this length on bytes are kept where they lie until the message is finished: weights that lie in memory are copied once. */
const LARGE = 4096;

/** A minimal protocol-buffers writer: varints, length-delimited fields and fixed 32-bit floats are all that ONNX needs. */
export class ProtobufWriter {
  /** What is written, but for the `used` bytes of `current` behind it. */
  private readonly parts: Uint8Array[] = [];
  private current = new Uint8Array(256);
  private used = 0;
  private partsLength = 0;

  /** Everything written, in one piece. Bytes that were given must not have changed since. */
  finish(): Uint8Array {
    const whole = new Uint8Array(this.length);
    let offset = 0;
    for (const part of [...this.parts, this.current.subarray(0, this.used)]) {
      whole.set(part, offset);
      offset += part.byteLength;
    }
    return whole;
  }

  /** Field of wire type 0. Negative numbers are written as 64-bit two's complement, as int64 wants. */
  integer(field: number, value: number): this {
    this.varint(field << 3);
    return this.varint(value);
  }

  float(field: number, value: number): this {
    this.varint((field << 3) | 5);
    this.reserve(4);
    new DataView(this.current.buffer).setFloat32(this.used, value, true);
    this.used += 4;
    return this;
  }

  string(field: number, value: string): this {
    return this.raw(field, new TextEncoder().encode(value));
  }

  raw(field: number, value: Uint8Array): this {
    this.varint((field << 3) | 2).varint(value.byteLength);
    this.append(value);
    return this;
  }

  message(field: number, write: (writer: ProtobufWriter) => void): this {
    const inner = new ProtobufWriter();
    write(inner);
    this.varint((field << 3) | 2).varint(inner.length);
    for (const part of inner.parts) this.append(part);
    this.append(inner.current.subarray(0, inner.used));
    return this;
  }

  private get length(): number {
    return this.partsLength + this.used;
  }

  private append(value: Uint8Array): void {
    if (value.byteLength < LARGE) {
      this.reserve(value.byteLength);
      this.current.set(value, this.used);
      this.used += value.byteLength;
      return;
    }
    this.keepCurrent();
    this.parts.push(value);
    this.partsLength += value.byteLength;
  }

  private keepCurrent(): void {
    if (this.used === 0) return;
    this.parts.push(this.current.subarray(0, this.used));
    this.partsLength += this.used;
    this.current = new Uint8Array(LARGE);
    this.used = 0;
  }

  private varint(value: number): this {
    this.reserve(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 0x80n) {
      this.current[this.used++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.current[this.used++] = Number(rest);
    return this;
  }

  private reserve(count: number): void {
    if (this.used + count <= this.current.length) return;
    this.keepCurrent();
    if (count > this.current.length) this.current = new Uint8Array(count);
    else if (this.current.length < LARGE) this.current = new Uint8Array(LARGE);
  }
}

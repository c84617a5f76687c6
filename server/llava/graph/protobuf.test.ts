import { describe, expect, it } from 'vitest';

import { ProtobufWriter } from './protobuf';

// Expected bytes are those of the encoding guide: https://protobuf.dev/programming-guides/encoding/
describe('ProtobufWriter', () => {
  it('writes varints', () => {
    expect([...new ProtobufWriter().integer(1, 150).finish()]).toEqual([0x08, 0x96, 0x01]);
    expect([...new ProtobufWriter().integer(1, 0).finish()]).toEqual([0x08, 0x00]);
  });

  it('writes negative numbers as 64-bit twos complement', () => {
    const bytes = [...new ProtobufWriter().integer(1, -2).finish()];
    expect(bytes).toEqual([0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
  });

  it('writes strings and nested messages with their lengths', () => {
    expect([...new ProtobufWriter().string(2, 'testing').finish()]).toEqual([
      0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67,
    ]);
    const nested = new ProtobufWriter().message(3, (inner) => inner.integer(1, 150)).finish();
    expect([...nested]).toEqual([0x1a, 0x03, 0x08, 0x96, 0x01]);
  });

  it('writes floats little-endian', () => {
    expect([...new ProtobufWriter().float(1, 1).finish()]).toEqual([0x0d, 0x00, 0x00, 0x80, 0x3f]);
  });

  it('grows over any number of fields', () => {
    const writer = new ProtobufWriter();
    for (let i = 0; i < 5000; i++) writer.integer(1, 1);
    expect(writer.finish().length).toBe(10_000);
  });

  it.each([[100], [4095], [4096], [4097], [70_000]])(
    'writes %i bytes at any depth, in their order',
    (length) => {
      const data = Uint8Array.from({ length }, (_, index) => index * 7);
      const written = new ProtobufWriter()
        .integer(1, 5)
        .message(2, (outer) =>
          outer.raw(3, data).message(4, (inner) => inner.integer(1, 6).raw(5, data).integer(1, 7)),
        )
        .integer(1, 8)
        .finish();
      // Written out by the encoding guide, from the inside out.
      const varint = (value: number): number[] =>
        value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
      const field = (number: number, content: readonly number[]): number[] => [
        (number << 3) | 2,
        ...varint(content.length),
        ...content,
      ];
      const inner = [0x08, 6, ...field(5, [...data]), 0x08, 7];
      const expected = [0x08, 5, ...field(2, [...field(3, [...data]), ...field(4, inner)]), 0x08, 8];
      expect(Buffer.compare(written, Uint8Array.from(expected))).toBe(0);
    },
  );
});

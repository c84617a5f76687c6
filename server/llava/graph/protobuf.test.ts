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
});

import { describe, expect, it } from 'vitest';
import { dataSize, downloadState, duration, fitsMemory, typedHubId } from './modelText';

describe('the id of a model', () => {
  it('may be typed, or pasted as the address of its page', () => {
    expect(typedHubId(' llava-hf/llava-1.5-7b-hf ')).toBe('llava-hf/llava-1.5-7b-hf');
    expect(typedHubId('acme/tiny@v1.0')).toBe('acme/tiny@v1.0');
    expect(typedHubId('https://huggingface.co/llava-hf/llava-1.5-7b-hf/tree/main')).toBe(
      'llava-hf/llava-1.5-7b-hf',
    );
  });

  it('is nothing else that people type', () => {
    for (const text of [
      '',
      'llava',
      'a/b/c',
      '/home/me/model',
      '~/model',
      '../x/y',
      'https://example.com/a/b',
      'a b/c',
    ])
      expect(typedHubId(text)).toBeUndefined();
  });
});

it('says sizes and times in units that people use', () => {
  expect([999, 950_000, 1_730_000_000].map(dataSize)).toEqual(['1 kB', '950 kB', '1.7 GB']);
  expect([0.2, 42, 600, 9000].map(duration)).toEqual(['1 s', '42 s', '10 min', '2.5 h']);
});

it('tells a model that fits into memory from one that does not', () => {
  expect(fitsMemory({ memoryBytes: 4e9, machineMemoryBytes: 8e9 })).toBe(true);
  expect(fitsMemory({ memoryBytes: 29e9, machineMemoryBytes: 25e9 })).toBe(false);
});

it('says how far a download is, or what it waits for', () => {
  const state = { bytes: 1.2e9, totalBytes: 14.13e9, bytesPerSecond: 12e6, secondsLeft: 1080 };
  expect(downloadState(state)).toBe('1.2 GB of 14.1 GB · 12.0 MB/s · 18 min left');
  expect(downloadState({ ...state, note: 'the line broke; again in 4 s' })).toBe(
    '1.2 GB of 14.1 GB · the line broke; again in 4 s',
  );
});

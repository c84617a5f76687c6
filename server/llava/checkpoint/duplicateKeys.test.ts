import { describe, expect, it } from 'vitest';
import { firstDuplicateKey } from './duplicateKeys';

describe('firstDuplicateKey', () => {
  it.each([
    ['{"a":1,"a":2}', 'a'],
    ['{"x":{"a":1,"b":{"c":1,"c":1}}}', 'c'],
    ['[{"a":1},{"b":1,"b":2}]', 'b'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['{"a\\"":1,"b":2,"a\\"":3}', 'a"'],
    ['{"":0,"":0}', ''],
    [' { "a" : [1, {"z":1}] , "a" : "}" }', 'a'],
  ])('finds it in %s', (text, key) => {
    JSON.parse(text);
    expect(firstDuplicateKey(text)).toBe(key);
  });

  it.each([
    '{}',
    '[]',
    '"a"',
    '{"a":"a","b":"a"}',
    '{"a":["a","a","a"]}',
    '{"a":{"a":{"a":1}},"b":{"a":1}}',
    '[{"a":1},{"a":2}]',
    '{"a":"\\",\\"a\\":1,{","b":"\\\\"}',
    '{"a":"{\\"a\\":1,\\"a\\":2}"}',
  ])('finds none in %s', (text) => {
    JSON.parse(text);
    expect(firstDuplicateKey(text)).toBeUndefined();
  });
});

import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { InputError } from '../errors';
import { decodeImage } from './decode';
import { checkSvg, isXml, svgDensity } from './svg';

function svg(inside: string, attributes = 'width="40" height="20"', before = ''): Uint8Array {
  return Buffer.from(`${before}<svg xmlns="http://www.w3.org/2000/svg" ${attributes}>${inside}</svg>`);
}

const RED = '<rect width="100%" height="100%" fill="#ff0000"/>';

async function codeOf(bytes: Uint8Array): Promise<string> {
  const error = await decodeImage(bytes).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(InputError);
  return (error as InputError).code;
}

describe('a harmless SVG', () => {
  it('is drawn large enough to be seen', async () => {
    const image = await decodeImage(svg(RED));
    expect(image).toMatchObject({ format: 'svg', width: 512, height: 256 });
    expect([...image.rgb.subarray(0, 3)]).toEqual([255, 0, 0]);
  });

  it('is drawn at its size in between, and scaled down when it is huge', async () => {
    expect(await decodeImage(svg(RED, 'width="1000" height="500"'))).toMatchObject({
      width: 1000,
      height: 500,
    });
    const huge = await decodeImage(svg(RED, 'viewBox="0 0 90000 30000"'));
    expect(Math.abs(huge.width - 4096)).toBeLessThanOrEqual(30);
    expect(huge.rgb.length).toBe(huge.width * huge.height * 3);
  });

  it('is put on white', async () => {
    const image = await decodeImage(svg('<circle cx="20" cy="10" r="5"/>'));
    expect([...image.rgb.subarray(0, 3)]).toEqual([255, 255, 255]);
  });

  it.each([
    ['a reference inside', '<defs><g id="a"><rect width="9" height="9"/></g></defs><use href="#a"/>'],
    [
      'a gradient',
      '<linearGradient id="g"/><rect width="9" height="9" fill="url(#g)" style="mask: url(\'#m\')"/>',
    ],
    ['a link', '<a href="https://example.com/"><rect width="9" height="9"/></a>'],
    [
      'an embedded picture',
      '<image width="1" height="1" href="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="/>',
    ],
    ['a text about files', '<text>href="/etc/passwd" is only text</text>'],
  ])('may have %s', async (_, inside) => {
    expect(await decodeImage(svg(inside))).toMatchObject({ format: 'svg' });
  });

  it('may begin with a declaration, a comment or a byte order mark', async () => {
    for (const before of [
      '<?xml version="1.0" encoding="UTF-8"?>\n',
      '<!-- made by hand -->\n',
      '\uFEFF',
      '  \n',
    ])
      expect(await decodeImage(svg(RED, undefined, before))).toMatchObject({ format: 'svg' });
  });
});

describe('a hostile SVG is refused', () => {
  it.each([
    [
      'an external entity',
      svg('<text>&x;</text>', '', '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    ],
    ['a document type', svg(RED, '', '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://x/svg11.dtd">')],
    [
      'entities that multiply',
      svg(
        '<text>&c;</text>',
        '',
        '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]>',
      ),
    ],
    ['a picture from the web', svg('<image href="https://example.com/a.png" width="1" height="1"/>')],
    ['a picture from the web, in single quotes', svg("<image href = 'http://example.com/a.png'/>")],
    ['a picture from the web, the old way', svg('<image xlink:href="//example.com/a.png"/>')],
    ['a file', svg('<image href="file:///etc/passwd"/>')],
    ['a file beside it', svg('<use href="other.svg#a"/>')],
    ['a disguised reference', svg('<image href="&#104;ttps://example.com/a.png"/>')],
    ['a picture that is an SVG again', svg('<image href="data:image/svg+xml;base64,AAAA"/>')],
    ['a style sheet', svg(RED, '', '<?xml-stylesheet href="http://example.com/a.css"?>')],
    ['an import', svg('<style>@import url("http://example.com/a.css");</style>')],
    ['a reference in a style', svg('<style>rect { fill: url(http://example.com/a.svg#g) }</style>')],
    ['a reference in an attribute', svg('<rect style="fill:url(&quot;file:///a&quot;)"/>')],
    ['a filter image', svg('<filter id="f"><feImage href="http://example.com/a.png"/></filter>')],
    ['an inclusion', svg('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>')],
    ['another encoding', svg(RED, '', '<?xml version="1.0" encoding="UTF-7"?>')],
    ['UTF-16', Buffer.from(`\uFEFF${Buffer.from(svg(RED)).toString()}`, 'utf16le')],
    ['bytes that are no text', Buffer.concat([Buffer.from('<svg>'), Buffer.from([0xff, 0xfe, 0x80])])],
  ])('for %s', async (_, bytes) => {
    expect(await codeOf(bytes)).toBe('image.unsafe-svg');
  });

  it('when it is compressed', async () => {
    expect(await codeOf(gzipSync(svg(RED)))).toBe('image.unsupported-format');
  });

  it('when its claimed size is absurd', async () => {
    const code = await codeOf(svg(RED, 'width="100000000" height="100000000"'));
    expect(['image.too-large', 'image.truncated']).toContain(code);
  });

  it('when it is not well formed', async () => {
    expect(await codeOf(Buffer.from('<svg width="10" height="10"><rect'))).toBe('image.truncated');
  });
});

describe('isXml', () => {
  it('tells markup from pictures', () => {
    for (const text of ['<svg/>', '\n  <?xml?>', '\uFEFF<svg>']) expect(isXml(Buffer.from(text))).toBe(true);
    expect(isXml(Buffer.from('<svg/>', 'utf16le'))).toBe(true);
    for (const bytes of [[0x89, 0x50], [0xff, 0xd8, 0xff], []])
      expect(isXml(Uint8Array.from(bytes))).toBe(false);
  });
});

describe('svgDensity', () => {
  it('gives pixels within the limit', () => {
    for (const long of [1, 10, 100, 1000, 10_000]) {
      const density = svgDensity({ width: long, height: long }, 1e6);
      expect(((long * density) / 72) ** 2).toBeLessThanOrEqual(1e6);
    }
  });
});

it('checkSvg finds the same in a comment, where a parser would not look', () => {
  expect(() => checkSvg(svg('<!-- <image href="http://example.com/"/> -->'))).toThrow(InputError);
});

import { describe, expect, it } from 'vitest';
import { findMentions } from './find';

/** Destinations that are marked «like this» in a text, and the text without the marks. */
function marked(source: string): { text: string; ranges: [number, number][] } {
  const ranges: [number, number][] = [];
  let text = '';
  for (const part of source.split(/(«[^»]*»)/)) {
    if (part.startsWith('«')) {
      ranges.push([text.length, text.length + part.length - 2]);
      text += part.slice(1, -1);
    } else text += part;
  }
  return { text, ranges };
}

function expectMarked(language: string, source: string): void {
  const { text, ranges } = marked(source);
  expect(findMentions(text, language).map(({ start, end }): [number, number] => [start, end])).toEqual(
    ranges,
  );
}

describe('Markdown', () => {
  it.each([
    ['one image', '![a](«shot.png»)'],
    ['several a line', 'x ![a](«1.png») y ![b](«2.png») z ![](«3.png»)'],
    ['titles of all three kinds', '![a](«1.png» "t") ![a](«2.png» \'t)\') ![a](«3.png» (t))'],
    ['parentheses in the path', '![a](«a(1)(2).png») ![b](«b\\(1.png»)'],
    ['spaces in pointed brackets', '![a](<«my shot.png»> "t")'],
    ['white space and a line end inside', '![a](  «shot.png»\n  "title"  )'],
    ['brackets in the alternative text', '![a [b] c](«shot.png») ![a \\] c](«2.png»)'],
    ['an image inside a link', '[![a](«small.png»)](«large.png»)'],
    ['a link to an image', 'see [the picture](«shot.png») and [not this](page.html)'],
    ['a full reference', '![a][r1] and\n\n[r1]: «shot.png» "t"'.replace('[r1] and', '[«r1»] and')],
    [
      'a collapsed reference',
      '![«Foo  bar»][]\n\n[foo BAR]: «<shot.png>»'.replace('«<shot.png>»', '<«shot.png»>'),
    ],
    ['a shortcut reference', '![«r»]\n\n[r]: «shot.png»'],
    ['the first of two definitions', '![«r»]\n\n[r]: «1.png»\n[r]: page.html'],
    ['a reference in front of its definition and in a quote', '> ![«r»]\n\n> [r]: «1.png»'],
    ['HTML with attributes in any order', '<img width=3 alt="x > y" src="«a.png»" /> <IMG SRC=«b.png»>'],
    ['HTML in the middle of a line with an image', "a <img src='«1.png»'> b ![x](«2.png»)"],
    ['data URIs', '![a](«data:image/png;base64,iVBORw0KGgo=»)'],
    ['remote URLs', '![a](«https://example.org/a.png?x=(1)»)'],
    ['images without extension', '![badge](«https://example.org/badge»)'],
    ['front matter', '---\ncover: «c.png»\n---\n\n![a](«1.png»)'],
    [
      'images behind list markers and in nested lists',
      '- ![a](«1.png»)\n\n    ![b](«2.png»)\n1. ![c](«3.png»)',
    ],
    ['headings and tables', '# ![a](«1.png»)\n\n| ![b](«2.png») | ![c](«3.png») |\n|---|---|'],
    ['an image behind an unclosed bracket', '[ ![a](«1.png»)'],
    ['an image behind backticks that close nothing', '`` ![a](«1.png») `'],
  ])('finds %s', (_, source) => expectMarked('markdown', source));

  it.each([
    ['code spans', '`![a](1.png)` and ``` ` ![b](2.png) ```'],
    ['fenced code', '```\n![a](1.png)\n```\n\n~~~ md\n![b](2.png)\n```\n~~~'],
    ['fenced code in a list', '- x\n  ```md\n  ![a](1.png)\n  ```'],
    ['indented code', 'x\n\n    ![a](1.png)\n'],
    ['escapes', '\\![a](page.html) !\\[a](1.png)'],
    ['comments', '<!-- ![a](1.png) <img src="2.png"> -->'],
    ['a destination with a space', '![a](my shot.png)'],
    ['unbalanced parentheses', '![a](shot(1.png'],
    ['an unknown reference', '![a][nowhere]'],
    ['a blank line inside', '![a](\n\nshot.png)'],
  ])('does not read %s', (_, source) => expectMarked('markdown', source));

  it('resolves escapes and entities of a destination, and gives the alternative text', () => {
    const [mention] = findMentions('![a \\* &amp; b](a\\_b&#40;1&#41;.png)', 'markdown');
    expect(mention).toMatchObject({ destination: 'a_b(1).png', alt: 'a * & b', certain: true });
  });

  it('keeps an empty alternative text apart from none', () => {
    expect(findMentions('![](a.png)', 'markdown')[0].alt).toBe('');
    expect(findMentions('<img src="a.png">', 'markdown')[0].alt).toBeUndefined();
    expect(findMentions('<img alt src="a.png">', 'markdown')[0].alt).toBe('');
  });

  it('gives the whole construct', () => {
    const text = 'x ![a](b.png "t") y <img alt="q" src="c.png"> z';
    const whole = findMentions(text, 'markdown').map(({ fullStart, fullEnd }) =>
      text.slice(fullStart, fullEnd),
    );
    expect(whole).toEqual(['![a](b.png "t")', '<img alt="q" src="c.png">']);
  });
});

describe('HTML', () => {
  it.each([
    ['img with every quoting', '<img src="«a.png»"><img src=\'«b.png»\'><img src=«c.png»>'],
    ['img whose address has no extension', '<img src="«/image?id=1»">'],
    ['srcset', '<img srcset="«a.png» 1x, «b.png» 2x,«c.png»" src="«d.png»">'],
    [
      'picture, video, link, meta, object, SVG image',
      '<source srcset="«a.webp»"><video poster="«b.jpg»"><link rel=icon href="«c.ico»"><meta content="«d.png»"><object data="«e.svg»"></object><image xlink:href="«f.png»"/>',
    ],
    [
      'style attributes and elements',
      '<p style="background: url(«a.png»)"><style>p { background: url("«b.png»") }</style>',
    ],
    ['scripts', '<script>const x = "«a.png»"; if (1 < 2) y()</script><img src="«b.png»">'],
    ['line ends between attributes', '<img\n  alt="x"\n  src = "«a.png»"\n>'],
    ['a link to an image', '<a href="«a.png»">x</a><a href="page.html">y</a>'],
  ])('finds %s', (_, source) => expectMarked('html', source));

  it.each([
    ['comments', '<!-- <img src="a.png"> -->'],
    ['templates', '<img src="{{ image }}"><img src="${x}.png">'],
    ['text', 'a.png < b.png'],
    ['unclosed tags', '<img src="a.png'],
  ])('does not read %s', (_, source) => expectMarked('html', source));

  it('decodes character references', () => {
    expect(findMentions('<img src="a&amp;b&#x20;c.png">', 'html')[0].destination).toBe('a&b c.png');
  });
});

describe('CSS, SCSS, Less', () => {
  it.each([
    ['css', 'a { background: url(«a.png») no-repeat, url( "«b c.png»" ) , url(\'«c.svg»\'); }'],
    ['css', '/* url(x.png) */ a { content: "url(y.png)"; background: URL(«z.png») }'],
    ['css', 'a { background: image-set("«a.png»" 1x, url(«b.png») 2x) }'],
    ['css', 'a { src: url(font.woff2); mask: url(#m); b: url(«data:image/gif;base64,R0lGOD==») }'],
    ['scss', '// url(x.png)\n@import "y"; a { b: url($v + ".png"); c: url("#{$d}/e.png"); f: url(«g.png») }'],
    ['less', 'a { b: url("@{c}/d.png"); e: url(«f.png») }'],
  ])('%s: %s', (language, source) => expectMarked(language, source));

  it('resolves escapes', () => {
    expect(findMentions('a{b:url(a\\(1\\)\\20 x.png)}', 'css')[0].destination).toBe('a(1) x.png');
  });
});

describe.each(['javascript', 'javascriptreact', 'typescript', 'typescriptreact'])('%s', (language) => {
  it.each([
    [
      'imports and requires',
      'import a from "«./a.png»";\nconst b = require(\'«../b.svg?url»\'); import(`«c.webp»`);',
    ],
    [
      'attributes of JSX behind an apostrophe',
      '<p>don\'t</p>; <img src=\'«a.png»\' alt="it\'s" src="«b.png»" />',
    ],
    ['an apostrophe and a path on one line', '// it\'s "«a.png»" isn\'t'],
    ['objects and arrays', "{ icon: '«a.png»', all: ['«b.jpg»', \"«c.gif»\"] }"],
    ['URLs and data', "['«https://example.org/a.png»', '«data:image/png;base64,AA==»']"],
    ['new URL', "new URL('«./a.png»', import.meta.url)"],
  ])('finds %s', (_, source) => expectMarked(language, source));

  it.each([
    ['templates with holes', '`${dir}/a.png`'],
    ['other strings', '"a.pngx" \'b.ts\' ".png.txt"'],
    ['strings over a line end', '"a\n.png"'],
  ])('does not read %s', (_, source) => expectMarked(language, source));

  it('resolves escapes', () => {
    expect(findMentions('"a\\u0062\\x63\\u{64}.png"', language)[0].destination).toBe('abcd.png');
  });
});

describe('Python', () => {
  it('finds strings of every kind but those with holes', () => {
    expectMarked(
      'python',
      "open('«a.png»'); Path(r\"«b.jpg»\"); x = f'{y}.png'; z = F\"{y}/a.png\"; f'«c.png»'; elf('«{d}.png»')",
    );
  });
});

describe('JSON', () => {
  it('finds keys and values', () => {
    expectMarked('json', '{"icon": "«media/icon.png»", "«k.svg»": ["«a\\/b.png»", "x"]}');
    expect(findMentions('["a\\/b.png"]', 'json')[0].destination).toBe('a/b.png');
  });
});

describe('YAML', () => {
  it.each([
    'icon: «a.png»',
    'a:\n  - «b.png»\n  - "«c d.png»"\n  - \'«e.png»\'',
    'x: {icon: «a.png», list: [«b.png», «c.png»]} # not d.png',
    '- src: «images/my shot.png»   # comment',
    'url: «https://example.org/a.png»',
    '# logo: a.png',
    'text: the file a.pngx',
  ])('%s', (source) => expectMarked('yaml', source));
});

describe('LaTeX', () => {
  it.each([
    '\\includegraphics{«a.png»}',
    '\\includegraphics[width=0.5\\textwidth]{«figures/plot»}',
    '\\includegraphics*[width=3cm] { «b» }',
    '% \\includegraphics{no.png}\n100\\% \\includegraphics{«c.jpg»}',
  ])('%s', (source) => expectMarked('latex', source));
});

describe('every reader', () => {
  const languages = ['markdown', 'html', 'css', 'scss', 'typescript', 'python', 'json', 'yaml', 'latex'];

  it('gives ranges inside the text, in order, for any text', () => {
    const alphabet = [
      '![a](a.png)',
      '"a.png"',
      'url(a.png)',
      '![',
      '[',
      ']',
      '(',
      ')',
      '"',
      "'",
      '`',
      '<',
      '>',
      'img ',
      'src=',
      'url(',
      '\\',
      '\n',
      ' ',
      'a.png',
      '=',
      '-',
      ':',
      '{',
      '}',
      '%',
      '&#',
      ';',
      '---\n',
      '~~~',
      '\\includegraphics{',
    ];
    let state = 12345;
    const random = (n: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % n;
    };
    let found = 0;
    for (let round = 0; round < 3000; round++) {
      const text = Array.from({ length: 1 + random(30) }, () => alphabet[random(alphabet.length)]).join('');
      for (const language of languages) {
        const mentions = findMentions(text, language);
        found += mentions.length;
        for (const { start, end, fullStart, fullEnd } of mentions) {
          const isNested =
            0 <= fullStart && fullStart <= start && start < end && end <= fullEnd && fullEnd <= text.length;
          expect(isNested, `${language}: ${JSON.stringify(text)}`).toBe(true);
        }
        expect(mentions.map(({ start }) => start)).toEqual(
          mentions.map(({ start }) => start).sort((a, b) => a - b),
        );
      }
    }
    expect(found).toBeGreaterThan(1000);
  });

  it.each(languages)(
    '%s: takes time in proportion to hostile texts',
    (language) => {
      // Each would take hours in a reader that starts over at every character.
      const hostile = [
        '![',
        '<img ',
        '<a "',
        '"\\',
        '`',
        '[a](',
        'url(',
        '<!--',
        '[a]:\n',
        '\\includegraphics[',
        '&#',
        'a.png"\'',
        '![a](<',
        '- ',
        '((',
      ];
      for (const unit of hostile) {
        const text = unit.repeat(Math.floor(100_000 / unit.length));
        expect(findMentions(text, language).length).toBeLessThanOrEqual(text.length);
      }
    },
    30_000,
  );

  it('knows no other language', () => {
    expect(findMentions('![a](b.png)', 'plaintext')).toEqual([]);
    expect(findMentions('![a](b.png)', 'constructor')).toEqual([]);
  });
});

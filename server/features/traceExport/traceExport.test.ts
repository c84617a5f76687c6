import { createHash } from 'node:crypto';
import { runInNewContext } from 'node:vm';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { HOSTILE_TEXTS } from '../../../test/hostile/texts';
import { SYNTHETIC, SYNTHETIC_METHODS, syntheticResult } from '../../../webview/testing/syntheticResult';
import { figureOf } from '../../traceView/figure';
import { parsePage } from '../../traceView/page';
import { answersToJson, traceToHtml, traceToJson, traceToPng } from './traceExport';

const SCRIPT = 'globalThis.ran = "<" + "b>";';

/** One colour, so that what the export adds can be told from it. */
async function picture(
  width: number,
  height: number,
  background = { r: 0, g: 200, b: 0 },
): Promise<Uint8Array> {
  return sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
}

/** The elements of a page as a browser's tokenizer finds them: a script ends at the first `</script`. */
function scriptsOf(html: string): { attributes: string; content: string }[] {
  return [...html.matchAll(/<script([^>]*)>([\s\S]*?)<\/script/gi)].map(([, attributes, content]) => ({
    attributes,
    content,
  }));
}

describe('traceToHtml', () => {
  it('carries the data that the view reads, and all runs in order', async () => {
    const png = await picture(64, 36);
    const html = traceToHtml(SYNTHETIC.tokens576(), [{ png, name: 'a.png' }], SCRIPT, {
      earlier: [SYNTHETIC.allTokens()],
      methods: SYNTHETIC_METHODS,
    });
    const [data, code] = scriptsOf(html);
    const page = parsePage(JSON.parse(data.content));
    expect(page?.answers.map(({ reduction }) => reduction)).toEqual([
      'none',
      SYNTHETIC.tokens576().reduction,
    ]);
    expect(page?.answers[0].pictures[0]).toEqual({
      name: 'a.png',
      dataUrl: `data:image/png;base64,${Buffer.from(png).toString('base64')}`,
    });
    expect(code.content).toBe(SCRIPT);
  });

  it('does not say where the model lies on this machine', async () => {
    const result = SYNTHETIC.tokens64();
    result.model.directory = '/home/somebody/models/secret';
    const html = traceToHtml(result, [{ png: await picture(4, 4) }], SCRIPT);
    expect(html).not.toContain('secret');
    expect(traceToJson(result)).not.toContain('secret');
  });

  it('lets exactly its own program run, and nothing be fetched', async () => {
    const html = traceToHtml(SYNTHETIC.tokens64(), [{ png: await picture(4, 4) }], SCRIPT);
    const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    const hash = createHash('sha256').update(scriptsOf(html)[1].content).digest('base64');
    expect(policy).toContain(`script-src 'sha256-${hash}'`);
    expect(html).not.toMatch(/(?:src|href)=/);
  });

  it.each(HOSTILE_TEXTS)('shows hostile text as text: %j', async (text) => {
    const png = await picture(4, 4);
    const result = syntheticResult({ side: 8, question: text, pieces: [text], modelName: text });
    const html = traceToHtml(result, [{ png, name: text }], SCRIPT);
    const scripts = scriptsOf(html);
    expect(scripts).toHaveLength(2);
    expect(scripts[0].attributes).toContain('application/json');
    expect(scripts[0].content).not.toMatch(/[<>\u2028\u2029]/);
    expect(scripts[1].content).toBe(SCRIPT);
    const page = parsePage(JSON.parse(scripts[0].content));
    expect(page?.answers[0].question).toBe(text);
    expect(page?.answers[0].result.trace.answer[0].text).toBe(text);
    const elements = html.replace(/<script[\s\S]*?<\/script>/g, '').match(/<[a-zA-Z]+/g);
    expect(elements).toEqual([
      '<html',
      '<head',
      '<meta',
      '<meta',
      '<meta',
      '<title',
      '<body',
      '<main',
      '<noscript',
      '<h',
      '<p',
    ]);
  });

  it('keeps a program whole that speaks of script elements', async () => {
    const script =
      'globalThis.ran = ["</script>", "<!-- <script>", `</SCRIPT >`, /<\\/x/.source].join("|");\r\n';
    const html = traceToHtml(SYNTHETIC.tokens64(), [{ png: await picture(4, 4) }], script);
    const [, code] = scriptsOf(html);
    const ran = (source: string): unknown => {
      const context: { ran?: unknown } = {};
      runInNewContext(source, Object.assign(context, { globalThis: context }));
      return context.ran;
    };
    expect(code.content).not.toMatch(/<\/script|<!--/i);
    expect(ran(code.content)).toBe(ran(script));
  });
});

describe('answersToJson', () => {
  it('lists compared answers without where the model lies, and one alone as itself', () => {
    const [first, second] = [SYNTHETIC.tokens576(), SYNTHETIC.allTokens()];
    const json = JSON.parse(answersToJson([first, second])) as {
      format: string;
      answers: { reduction: string; model: { directory: string } }[];
    };
    expect(json.format).toBe('fovea-comparison');
    expect(json.answers.map(({ reduction }) => reduction)).toEqual([first.reduction, second.reduction]);
    expect(json.answers.map(({ model }) => model.directory)).toEqual(['', '']);
    expect(answersToJson([first])).toBe(traceToJson(first));
  });
});

describe('traceToJson', () => {
  it('is one object that holds the trace', () => {
    const json = JSON.parse(traceToJson(SYNTHETIC.tokens576())) as Record<string, unknown>;
    expect(json).toMatchObject({
      format: 'fovea-trace',
      answer: SYNTHETIC.tokens576().answer,
      trace: { version: 1 },
    });
  });
});

describe('traceToPng', () => {
  it('draws the picture where a kept patch is, and veils it where patches were dropped', async () => {
    const result = SYNTHETIC.tokens576Crop();
    const png = await traceToPng(result, [{ png: await picture(1920, 1080) }]);
    const figure = figureOf(result);
    const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([figure.width, figure.height]);
    const [layout] = result.trace.images;
    const { source, rows, columns } = layout.tiles[0];
    const middle = (id: number): number[] => {
      const x = source.x + ((id % columns) + 0.5) * (source.width / columns);
      const y = source.y + (Math.floor(id / columns) + 0.5) * (source.height / rows);
      const scale = figure.picture.width / layout.width;
      const at =
        (Math.round(figure.picture.y + y * scale) * info.width + Math.round(figure.picture.x + x * scale)) *
        info.channels;
      return [data[at], data[at + 1], data[at + 2]];
    };
    const [stage] = result.trace.stages;
    for (const id of stage.kept) expect(middle(id), `patch ${id}`).toEqual([0, 200, 0]);
    for (const id of stage.dropped) expect(middle(id)[0], `patch ${id}`).toBeGreaterThan(90);
  });

  it('puts the images of a question below each other', async () => {
    const one = SYNTHETIC.tokens64();
    const [first] = one.trace.images;
    const ids = first.patches + 2;
    const second = {
      ...first,
      firstId: ids,
      tiles: first.tiles.map((tile) => ({ ...tile, firstId: ids })),
      classTokenId: ids + first.patches,
      contextTokenId: ids + first.patches + 1,
    };
    const two = { ...one, trace: { ...one.trace, images: [first, second] } };
    const green = { png: await picture(192, 108) };
    const red = { png: await picture(192, 108, { r: 250, g: 0, b: 0 }) };
    const single = await sharp(await traceToPng(one, [green])).metadata();
    const double = await sharp(await traceToPng(two, [green, red])).metadata();
    expect(double.height).toBeGreaterThan(1.6 * single.height);
  });

  it.each(HOSTILE_TEXTS)('can be drawn with any text: %j', async (text) => {
    const result = syntheticResult({ side: 8, question: text, pieces: [text], modelName: text });
    const { width, height } = figureOf(result);
    const { info } = await sharp(await traceToPng(result, [{ png: await picture(40, 20) }])).toBuffer({
      resolveWithObject: true,
    });
    expect([info.width, info.height]).toEqual([width, height]);
  });
});

import { readFileSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  AnalyzeRequest,
  ExportTraceRequest,
  InspectModelRequest,
  ListModelsRequest,
  PictureRequest,
  ReadAheadRequest,
  ReductionsRequest,
  type PixelRect,
} from '../../server/protocol';
import { createSetup, EMBEDDED_MODEL, removeSetup, SERVER, TestServer, type Setup } from './harness';

let setup: Setup;
let server: TestServer;
let image: string;
let network: string;

// One session with the engine and the model as they are shipped; nothing in it is scripted.
beforeAll(async () => {
  setup = await createSetup();
  network = path.join(setup.folder, 'network.log');
  writeFileSync(network, '');
  const file = path.join(setup.workspace, 'icon.png');
  await copyFile(path.resolve(__dirname, '../../media/icon.png'), file);
  image = pathToFileURL(file).href;
  const spy = path.join(__dirname, 'networkSpy.mjs');
  server = await TestServer.start({
    setup,
    environment: { NODE_OPTIONS: `--import ${spy}`, NETWORK_LOG: network },
  });
});
afterAll(async () => {
  await server.stop();
  await removeSetup(setup);
});

const question = { question: 'What is in the picture?', sampling: { maxTokens: 6 } };

it('answers a question about an image, streaming, and remembers the answer', async () => {
  const { pieces, result, stages } = await server.ask({ images: [{ uri: image }], ...question });
  expect(pieces.join('').trim()).toBe(result.result.answer.trim());
  expect(stages.length).toBeGreaterThan(1);
  expect(result).toMatchObject({ cached: false, images: [{ name: 'icon.png', format: 'png' }] });
  expect(result.result.trace.answer).toHaveLength(result.result.answerTokenIds.length);
  const again = await server.ask({ images: [{ uri: image }], ...question });
  expect(again.result).toEqual({ ...result, cached: true });
});

it('answers with fewer tokens under a reduction', async () => {
  const { result } = await server.ask({
    images: [{ uri: image }],
    reduction: 'fastv:layer=2,keep=0.5',
    ...question,
  });
  expect(result.result.reduction).toMatch(/^fastv:/);
  expect(result.result.trace.stages.length).toBeGreaterThan(0);
  expect(Math.min(...result.result.costs.imageTokens.perStage)).toBeLessThan(
    result.result.costs.imageTokens.total,
  );
});

it('has done what does not depend on the words by the time that a question comes', async () => {
  const file = path.join(setup.workspace, 'ahead.png');
  await sharp({ create: { width: 300, height: 200, channels: 3, background: '#8a2' } })
    .png()
    .toFile(file);
  const images = [{ uri: pathToFileURL(file).href }];
  await server.request(ReadAheadRequest.type, { images });
  const { costs } = (await server.ask({ images, ...question })).result.result;
  expect(costs.imagesReused).toBe(1);
  expect(costs.prefixReused?.tokens).toBeGreaterThanOrEqual(costs.imageTokens.total);
});

it('uses what the last question left, unless it is told not to', async () => {
  const asked = { images: [{ uri: image }], ...question, fresh: true };
  const { result } = (await server.ask(asked)).result;
  expect(result.costs.imagesReused).toBe(1);
  expect(result.costs.prefixReused).toBeDefined();
  const { result: whole } = (await server.ask({ ...asked, reuse: false })).result;
  expect(whole.costs.imagesReused).toBeFalsy();
  expect(whole.costs.prefixReused).toBeUndefined();
  expect(whole.answer).toBe(result.answer);
});

it('measures the attention of the answer that it gave', async () => {
  const images = [{ uri: image }];
  const { result } = await server.ask({ images, ...question });
  const analysis = await server.request(AnalyzeRequest.type, {
    images,
    question: question.question,
    maxTokens: question.sampling.maxTokens,
  });
  expect(analysis.answerTokens.map(({ id }) => id)).toEqual(result.result.answerTokenIds);
  expect(analysis.steps).toHaveLength(analysis.answerTokens.length);
  expect(analysis.removal).toHaveLength(analysis.layers.length + 1);
  expect(analysis.removal.at(-1)).not.toHaveProperty('firstChange');
  const { shares } = analysis.vision[0];
  expect(shares).toHaveLength(result.result.trace.images[0].patches);
});

it('exports the answer in every format', async () => {
  const images = [{ uri: image }];
  const { result } = await server.ask({ images, ...question });
  for (const format of ['png', 'json', 'html'] as const) {
    const file = await server.request(ExportTraceRequest.type, { format, result: result.result, images });
    const data = Buffer.from(file.base64, 'base64');
    expect(file.name).toMatch(new RegExp(`^icon\\.\\w+\\.${format}$`));
    if (format === 'png') expect((await sharp(data).metadata()).format).toBe('png');
    else if (format === 'json')
      expect(JSON.parse(data.toString())).toMatchObject({ answer: result.result.answer });
    else expect(data.toString()).toContain("default-src 'none'");
  }
});

it('makes a picture that a browser shows of a drawing and of a large scan', async () => {
  const drawing = path.join(setup.workspace, 'drawing.svg');
  writeFileSync(
    drawing,
    '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><rect width="60" height="40" fill="red"/></svg>',
  );
  const scan = path.join(setup.workspace, 'scan.tiff');
  await sharp({ create: { width: 4096, height: 1024, channels: 3, background: 'red' } })
    .tiff({ compression: 'lzw' })
    .toFile(scan);
  for (const [file, width, height] of [
    [drawing, 512, 341], // drawings are rasterised large enough to be read
    [scan, 2048, 512],
  ] as const) {
    const { base64 } = await server.request(PictureRequest.type, {
      image: { uri: pathToFileURL(file).href },
    });
    const { data, info } = await sharp(Buffer.from(base64, 'base64'))
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width, height, channels: 3 });
    const middle = 3 * (Math.floor(height / 2) * width + Math.floor(width / 2));
    expect([...data.subarray(middle, middle + 3)]).toEqual([255, 0, 0]);
  }
});

it('scales a picture that is shown, and leaves a part that is asked about as large as the largest grid of tiles can use', async () => {
  const file = path.join(setup.workspace, 'wide.png');
  await sharp({ create: { width: 5000, height: 30, channels: 3, background: '#102030' } })
    .png()
    .toFile(file);
  const source = { uri: pathToFileURL(file).href };
  const widthOf = async (part?: PixelRect): Promise<number | undefined> => {
    const { base64 } = await server.request(PictureRequest.type, { image: source, part });
    return (await sharp(Buffer.from(base64, 'base64')).metadata()).width;
  };
  expect(await widthOf()).toBe(2048);
  // OneVision looks at up to 6 x 6 tiles of 384 pixels.
  for (const width of [2049, 2304, 4096])
    expect(await widthOf({ x: 100, y: 5, width, height: 20 })).toBe(width);
  expect(await widthOf({ x: 0, y: 0, width: 4900, height: 30 })).toBe(4096);
});

it('lists and inspects the embedded model, and describes the reductions', async () => {
  const [model] = await server.request(ListModelsRequest.type, {});
  expect(model).toMatchObject({ origin: 'embedded', chosen: true, setting: '', directory: EMBEDDED_MODEL });
  expect(await server.request(InspectModelRequest.type, { directory: EMBEDDED_MODEL })).toEqual(
    model.summary,
  );
  const ids = (await server.request(ReductionsRequest.type, {})).map(({ id }) => id);
  expect(ids).toEqual(expect.arrayContaining(['fastv', 'visionzip']));
});

it('touches no network in all of this', () => {
  const lines = readFileSync(network, 'utf8').trim().split('\n');
  expect(lines.filter((line) => line.endsWith('spy ready')).length).toBeGreaterThanOrEqual(3);
  expect(lines.filter((line) => !line.endsWith('spy ready'))).toEqual([]);
});

it('keeps onnxruntime and sharp out of the language server', () => {
  const code = readFileSync(SERVER, 'utf8');
  expect(code).not.toMatch(/require\(["'](?:onnxruntime-node|sharp)["']\)/);
  const maps = readFileSync(`/proc/${server.process.pid}/maps`, 'utf8');
  expect(maps).not.toMatch(/onnxruntime|libvips/);
});

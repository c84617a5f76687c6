import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';

import type { Prompt } from '../../server/llava/decoding';
import { LlavaModel } from '../../server/llava/model';
import { createSampler } from '../../server/llava/text/sampling';
import { EOS_TOKEN, randomTokens } from '../randomCheckpoint';
import { screenshot } from './engineStages';
import { writeDecoderGguf, writeTowerGguf } from './gguf';
import { askLlamaMtmd } from './llamaMtmd';
import { plainDecoding } from './plainDecoding';
import { checkpointOf } from './shapes';

/** Whether llama.cpp computes the same from the same weights: times of two programs that do different things say nothing. */
export interface MtmdAgreement {
  /** Rows of the projector's output that were compared, and their largest difference, as a share of the largest value. */
  readonly imageTokens: number;
  readonly difference: number;
  /** Greedy answer tokens of the decoder over these rows that were compared, and whether all were the same. */
  readonly answerTokens: number;
  readonly sameAnswer: boolean;
}

/** Wider than the projector's GELU by llama.cpp, a formula with tanh from a table in half precision (5e-4), by far narrower than an error. */
export const TOLERANCE = 2e-3;

export function agrees({ difference, sameAnswer }: MtmdAgreement): boolean {
  return sameAnswer && difference <= TOLERANCE;
}

const QUESTION = 'What is the title of the dialog?';
const ANSWER_TOKENS = 24;

/**
 * Asks both about a picture that needs no scaling, a small model in float32. llama.cpp's tower loses the first patch (see
 * gguf.ts), so the others are compared, and our decoder is given llama.cpp's rows.
 */
export async function compareWithMtmd(
  program: string,
  { cache, cacheDirectory, threads }: { cache: string; cacheDirectory: string; threads: number },
): Promise<MtmdAgreement> {
  const directory = checkpointOf('agreement', cache);
  const model = await LlavaModel.open(directory, { cacheDirectory, precision: 'fp32' });
  try {
    const { vision, text } = model.checkpoint.config;
    const file = (name: string): string => path.join(directory, name);
    const [decoder, tower, embeddingsFile] = [file('llama-F32.gguf'), file('clip-F32.gguf'), file('rows')];
    if (!existsSync(decoder)) writeDecoderGguf(model.checkpoint, decoder, 'F32');
    if (!existsSync(tower)) writeTowerGguf(model.checkpoint, tower, 'F32');
    const picture = await screenshot(1, { width: vision.imageSize, height: vision.imageSize });
    await writeFile(file('picture.png'), picture);

    let prompt: Prompt | undefined;
    await model.ask(
      { images: [picture], question: QUESTION, sampling: { maxTokens: 1 } },
      { reuse: false, onPrompt: (entered) => (prompt = entered) },
    );
    const answer = await askLlamaMtmd(
      { program, decoder, tower, threads, answerTokens: ANSWER_TOKENS, embeddingsFile },
      file('picture.png'),
      QUESTION,
    );
    const rows = readEmbeddings(embeddingsFile);
    const columns = text.hiddenSize;
    const first = prompt!.labels.findIndex((label) => label >= 0);
    const imageTokens = prompt!.imageTokens.length;
    if (rows.length !== imageTokens * columns)
      throw new Error(`llama.cpp has ${rows.length / columns} image tokens, we have ${imageTokens}.`);
    const ours = prompt!.hidden.data.subarray(first * columns, (first + imageTokens) * columns);
    const theirs = rows.subarray(0, (imageTokens - 1) * columns);

    const hidden = { ...prompt!.hidden, data: prompt!.hidden.data.slice() };
    hidden.data.set(rows, first * columns);
    const ids = await greedy(model, { ...prompt!, hidden });
    return {
      imageTokens: imageTokens - 1,
      difference: difference(theirs, ours.subarray(columns)),
      answerTokens: ids.length,
      sameAnswer: textOf(ids, text.vocabSize) === answer.text.trimEnd(),
    };
  } finally {
    await model.dispose();
  }
}

/** What `MTMD_DEBUG_EMBEDDINGS` writes: rows and columns as int32, then the rows as float32. @returns [rows * columns] */
function readEmbeddings(file: string): Float32Array {
  const bytes = readFileSync(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset + 8, bytes.byteOffset + bytes.byteLength));
}

/** Largest difference, as a share of the largest value. */
function difference(a: Float32Array, b: Float32Array): number {
  let [largest, scale] = [0, 0];
  for (let index = 0; index < a.length; index++) {
    largest = Math.max(largest, Math.abs(a[index] - b[index]));
    scale = Math.max(scale, Math.abs(b[index]));
  }
  return largest / scale;
}

async function greedy(model: LlavaModel, prompt: Prompt): Promise<number[]> {
  await using decoding = plainDecoding(model, {
    imageTokens: prompt.imageTokens.length,
    capacity: prompt.labels.length + ANSWER_TOKENS,
  });
  const { sample } = createSampler();
  const ids: number[] = [];
  let { logits } = await decoding.prefill(prompt);
  while (ids.length < ANSWER_TOKENS) {
    const id = sample(logits);
    if (id === EOS_TOKEN) break;
    ids.push(id);
    if (ids.length < ANSWER_TOKENS) ({ logits } = await decoding.step(id));
  }
  return ids;
}

/** What llama.cpp prints for tokens of a random checkpoint. */
function textOf(ids: readonly number[], vocabSize: number): string {
  const tokens = randomTokens(vocabSize);
  const bytes = ids.map((id) =>
    id < EOS_TOKEN ? Buffer.of(id) : Buffer.from(tokens[id].text.replace('Ġ', ' ')),
  );
  return Buffer.concat(bytes).toString('utf8').trimEnd();
}

import type { ReductionDescription, TokenViewAnswer, TokenViewPicture } from '../protocol';
import { parseMethods, parseTokenViewAnswer } from './messages';

/** Id of the element that holds the data of a standalone page. */
export const PAGE_DATA_ID = 'fovea-data';

/** The data of a standalone page: the same program as the token view, without anybody to ask. */
export interface StandalonePage {
  version: 1;
  /** Shared by all answers. */
  pictures: TokenViewPicture[];
  methods: ReductionDescription[];
  /** In the order of asking; the last one is shown first. At least one. */
  answers: Omit<TokenViewAnswer, 'pictures'>[];
}

/** @returns undefined when the data is not what a page of ours holds */
export function parsePage(
  value: unknown,
): { methods: ReductionDescription[]; answers: TokenViewAnswer[] } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const page = value as Partial<Record<keyof StandalonePage, unknown>>;
  const methods = parseMethods(page.methods);
  if (page.version !== 1 || !methods || !Array.isArray(page.answers) || page.answers.length === 0)
    return undefined;
  const answers: TokenViewAnswer[] = [];
  for (const raw of page.answers as unknown[]) {
    if (typeof raw !== 'object' || raw === null) return undefined;
    const answer = parseTokenViewAnswer({ ...raw, pictures: page.pictures });
    if (!answer) return undefined;
    answers.push(answer);
  }
  return { methods, answers };
}

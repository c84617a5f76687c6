import { createHash } from 'node:crypto';
import type { AnswerResult, ReductionDescription } from '../../protocol';
import { sharedResult } from '../../traceView/json';
import { PAGE_DATA_ID, type StandalonePage } from '../../traceView/page';
import { escapeMarkup, warningWords } from '../../traceView/wording';

/** A picture of the question, as a browser can show it, upright. */
export interface ExportedImage {
  png: Uint8Array;
  /** What the user calls it. */
  name?: string;
}

export interface HtmlOptions {
  /** Runs on the same images that are shown beside this one, in the order of asking. */
  earlier?: readonly AnswerResult[];
  methods?: readonly ReductionDescription[];
}

/** Hash of the empty style element that the component library inserts. */
const EMPTY_STYLE = 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=';

/**
 * One self-contained page: works from a file, without network. Everything in the result is untrusted text.
 * @param script the built token view (`dist/webview.js`)
 */
export function traceToHtml(
  result: AnswerResult,
  images: readonly ExportedImage[],
  script: string,
  options: HtmlOptions = {},
): string {
  const page: StandalonePage = {
    version: 1,
    pictures: images.map(({ png, name }, index) => ({
      name: name ?? `Image ${index + 1}`,
      dataUrl: `data:image/png;base64,${Buffer.from(png).toString('base64')}`,
    })),
    methods: [...(options.methods ?? [])],
    answers: [...(options.earlier ?? []), result].map((answer) => ({
      question: answer.question,
      reduction: answer.reduction,
      fit: answer.trace.images[0]?.fit === 'crop' ? 'crop' : 'pad',
      result: sharedResult(answer),
      warning: warningWords(answer.warning),
    })),
  };
  const code = inlineScript(script);
  const hash = createHash('sha256').update(code).digest('base64');
  const policy = `default-src 'none'; script-src 'sha256-${hash}'; style-src '${EMPTY_STYLE}'; img-src data: blob:; base-uri 'none'; form-action 'none'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escapeMarkup(result.question)} · Fovea</title>
</head>
<body>
<main id="root"></main>
<noscript>
<h1>${escapeMarkup(result.question)}</h1>
<p>${escapeMarkup(result.answer)}</p>
</noscript>
<script type="application/json" id="${PAGE_DATA_ID}">${inlineJson(page)}</script>
<script>${code}</script>
</body>
</html>
`;
}

/** JSON that neither ends nor comments out the element that it stands in. */
export function inlineJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A program that means the same and does not end its element. In JavaScript's strings `\/` is `/` and `\!` is `!`. */
function inlineScript(script: string): string {
  return script
    .replace(/\r\n?/g, '\n')
    .replace(/<(\/script)/gi, '<\\$1')
    .replace(/<!--/g, '<\\!--');
}

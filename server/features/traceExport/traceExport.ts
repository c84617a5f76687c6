/** One answer with its tokens as a file. */
export { traceToHtml, type ExportedImage, type HtmlOptions } from './html';
export { traceToJson } from './json';
export { traceToPng } from './png';

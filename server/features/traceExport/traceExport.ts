/** One answer with its tokens as a file. */
export { traceToHtml, type ExportedImage, type HtmlOptions } from './html';
export { traceToPng } from './png';
export { answersToJson, traceToJson } from '../../traceView/json';

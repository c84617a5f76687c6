import type { FromTokenView, ReductionDescription, TokenViewAnswer, ToTokenView } from '../server/protocol';
import { parseToTokenView } from '../server/traceView/messages';
import { PAGE_DATA_ID, parsePage } from '../server/traceView/page';

/** What the view runs in: the editor, or a page of its own with nobody to ask. */
export interface Host {
  /** The answers of a standalone page; undefined inside the editor. */
  readonly page?: { methods: ReductionDescription[]; answers: TokenViewAnswer[] };
  post(message: FromTokenView): void;
  onMessage(listener: (message: ToTokenView) => void): void;
  loadState(): unknown;
  saveState(state: unknown): void;
}

interface EditorApi {
  postMessage(message: unknown): void;
  getState(): unknown;
  setState(state: unknown): void;
}

declare const acquireVsCodeApi: (() => EditorApi) | undefined;

/** @throws Error when there is neither an editor nor page data */
export function findHost(): Host {
  return typeof acquireVsCodeApi === 'function' ? editorHost(acquireVsCodeApi()) : pageHost();
}

function editorHost(api: EditorApi): Host {
  const post = (message: FromTokenView): void => api.postMessage(message);
  return {
    post,
    onMessage: (listener) =>
      window.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
        const message = parseToTokenView(data);
        if (message) listener(message);
        else post({ type: 'log', message: 'The token view ignored a message that it does not understand.' });
      }),
    loadState: () => api.getState(),
    saveState: (state) => api.setState(state),
  };
}

function pageHost(): Host {
  const data: unknown = JSON.parse(document.getElementById(PAGE_DATA_ID)?.textContent ?? 'null');
  const page = parsePage(data);
  if (!page) throw new Error('This page holds no answer that can be shown.');
  return {
    page,
    post: () => undefined,
    onMessage: () => undefined,
    loadState: () => undefined,
    saveState: () => undefined,
  };
}

import type { Actions } from './parts';

/** Images beyond this many bytes are refused here; the engine has its own limits. */
const MAX_BYTES = 64_000_000;
/** Kinds that go on as they are; anything else that the browser can show becomes PNG. */
const PLAIN = ['image/png', 'image/jpeg', 'image/webp', 'image/gif'];

/** Takes images that are pasted into or dropped onto the view. `say` tells the user what could not be used. */
export function acceptImages(actions: Actions, say: (text: string) => void): void {
  const take = async (file: File): Promise<void> => {
    if (file.size > MAX_BYTES)
      return say(`This image is too large (${Math.round(file.size / 1e6)} MB; at most 64 MB).`);
    try {
      actions.post({
        type: 'image',
        name: file.name === '' ? 'Pasted image' : file.name,
        dataUrl: await dataUrlOf(file),
      });
    } catch {
      say('This is not an image that can be shown.');
    }
  };
  document.addEventListener('paste', ({ clipboardData }) => {
    const file = [...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'));
    if (file) void take(file);
  });
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dropping');
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) document.body.classList.remove('dropping');
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dropping');
    const { dataTransfer } = event;
    if (!dataTransfer) return;
    const file = [...dataTransfer.files].find(({ type }) => type.startsWith('image/'));
    if (file) return void take(file);
    const uris = urisOf(dataTransfer);
    if (uris.length > 0) actions.post({ type: 'dropped', uris });
    else say('Drop an image file here.');
  });
}

/** Files that are dragged from the editor's explorer come as a list of URIs. */
function urisOf(data: DataTransfer): string[] {
  const list = data.getData('application/vnd.code.uri-list') || data.getData('text/uri-list');
  return list
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .slice(0, 16);
}

async function dataUrlOf(file: File): Promise<string> {
  if (PLAIN.includes(file.type)) {
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.addEventListener('load', () => resolve(String(reader.result)));
      reader.addEventListener('error', () => reject(reader.error ?? new Error('unreadable')));
      reader.readAsDataURL(file);
    });
  }
  const bitmap = await createImageBitmap(file);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0);
  return canvas.toDataURL('image/png');
}

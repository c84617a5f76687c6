import type * as vscode from 'vscode';

/** Extensions of image files that can be asked about, as the manifest's menus know them. */
export const IMAGE_EXTENSIONS = ['png', 'jpg', 'jpeg', 'webp', 'gif', 'avif', 'tif', 'tiff', 'svg'] as const;

/** True for a path whose last part is named like an image. */
export function hasImageExtension(path: string): boolean {
  const extension = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  return (
    path.lastIndexOf('.') > path.lastIndexOf('/') && IMAGE_EXTENSIONS.some((known) => known === extension)
  );
}

/** True for a file on disk whose name is that of an image. */
export function isImage(uri: vscode.Uri): boolean {
  return uri.scheme === 'file' && hasImageExtension(uri.path);
}

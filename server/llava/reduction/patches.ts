/** Patch raster of one tower input (a tile). */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
}

/** RGB pixels of every patch as the tower saw them before normalisation, 0..255 [patches, patchSize, patchSize, 3]. */
export interface PatchPixels {
  readonly data: Uint8Array;
  readonly patches: number;
  readonly patchSize: number;
}

/** A raster of the picture and its pixels as the tower sees them. */
export interface PicturePlane extends Grid {
  readonly pixels: PatchPixels;
}

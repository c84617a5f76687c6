import { defineMethod } from './method';
import { indices, keepAll, keptTokens } from './topK';

/**
 * Control: the same number of tokens by showing the tower a smaller picture. A ViT with learned positions has one input size, so the picture
 * is shrunk into the top left corner of the tower's square, and the patches outside it are dropped.
 */
export const downscale = defineMethod(
  {
    id: 'downscale',
    name: 'Smaller picture (control)',
    summary: 'Shrinks the picture before the vision tower so that it fills fewer patches.',
    details:
      'The picture is scaled down so that it fills only "grid" x "grid" patches in the top left corner of the square that the tower sees; the rest is padding, and the ' +
      'patches outside the picture are dropped after the tower. Whoever can afford only so many tokens could simply send a smaller picture: a method that does not beat ' +
      'this control gains nothing over that. Of a picture in tiles only the overview goes on, shrunk in this way; with a grid as large as the details, everything does. The tower still computes its whole square, so that only the decoder is spared. ' +
      'The padding can draw some attention inside the tower, as it does for every picture that is not square.',
    places: ['pixels', 'vision'],
    needs: [],
    control: true,
    parameters: [
      {
        name: 'grid',
        type: 'integer',
        minimum: 1,
        maximum: 1000,
        default: 8,
        description: 'Patches along each side of the picture; 8 makes 64 tokens.',
      },
    ],
  },
  ({ grid: side }) => ({
    atPixels: ({ grid }) => ({
      rows: Math.min(side, grid.rows),
      columns: Math.min(side, grid.columns),
    }),
    atVision: ({ grid, tile }) => {
      const patches = grid.rows * grid.columns;
      if (tile.planes.every(({ rows, columns }) => side >= rows && side >= columns)) return keepAll(patches);
      // A smaller picture has no details: it is the overview.
      if (tile.index > 0) return { tokens: [] };
      const inside = indices(patches).filter(
        (patch) => patch % grid.columns < side && Math.floor(patch / grid.columns) < side,
      );
      return { tokens: keptTokens(inside) };
    },
  }),
);

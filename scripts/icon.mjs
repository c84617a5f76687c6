// Draws media/icon.svg (an eye whose fovea keeps a few sharp tokens of the grid) and rasterises it to media/icon.png.
// `node scripts/icon.mjs`: run it after changing the drawing, and commit both files.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

const media = fileURLToPath(new URL('../media/', import.meta.url));

/** The drawing's own units; the marketplace shows 128 pixels. */
const SIZE = 128;
const CELLS = 9;
const PITCH = 11.2;

/** Where the eye looks: a little off centre, as a gaze is. */
const FOVEA = { column: 4.5, row: 4 };

/** Sharp tokens near the fovea are large and warm; they shrink and cool outwards, until they are dropped. */
function cell(row, column) {
  const distance = Math.hypot(column - FOVEA.column, row - FOVEA.row);
  const sharpness = Math.max(0, 1 - distance / 4.6);
  const side = 3 + 6.2 * sharpness;
  const centreX = SIZE / 2 + (column - (CELLS - 1) / 2) * PITCH;
  const centreY = SIZE / 2 + (row - (CELLS - 1) / 2) * PITCH;
  const colour = distance < 1.55 ? '#ffd166' : distance < 2.9 ? '#4dd0c4' : '#3f7fae';
  const opacity = (distance < 2.9 ? 1 : 0.35 + 0.5 * sharpness).toFixed(2);
  const corner = (centre) => (centre - side / 2).toFixed(2);
  return `<rect x="${corner(centreX)}" y="${corner(centreY)}" width="${side.toFixed(2)}" height="${side.toFixed(2)}" rx="${(side * 0.22).toFixed(2)}" fill="${colour}" opacity="${opacity}"/>`;
}

const eye = 'M7 64 C 30 10, 98 10, 121 64 C 98 118, 30 118, 7 64 Z';
const cells = Array.from({ length: CELLS * CELLS }, (_, index) =>
  cell(Math.floor(index / CELLS), index % CELLS),
);

const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE}" height="${SIZE}" viewBox="0 0 ${SIZE} ${SIZE}" role="img" aria-label="Fovea">
<defs>
<linearGradient id="night" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#16324a"/><stop offset="1" stop-color="#0b1a29"/></linearGradient>
<clipPath id="eye"><path d="${eye}"/></clipPath>
</defs>
<rect width="${SIZE}" height="${SIZE}" rx="26" fill="url(#night)"/>
<path d="${eye}" fill="#0a1622"/>
<g clip-path="url(#eye)">
${cells.join('\n')}
</g>
<path d="${eye}" fill="none" stroke="#e8f1f5" stroke-width="5" stroke-linejoin="round"/>
</svg>
`;

await writeFile(join(media, 'icon.svg'), svg);
await sharp(Buffer.from(svg), { density: 72 * 4 })
  .resize(SIZE, SIZE)
  .png({ compressionLevel: 9 })
  .toFile(join(media, 'icon.png'));

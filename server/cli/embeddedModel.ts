import path from 'node:path';

/** The checkpoint that comes with Fovea: `model/` beside the folder of the bundled programs. */
export function embeddedModelDirectory(): string {
  return path.join(__dirname, '..', 'model');
}

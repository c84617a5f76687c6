/** How the decoder's matrices are held: as float32, or quantised to 4 bits (the vocabulary projection to 8). */
export type Precision = 'fp32' | 'q4';

export type PrecisionChoice = Precision | 'auto';

export const PRECISIONS: readonly Precision[] = ['fp32', 'q4'];
export const PRECISION_CHOICES: readonly PrecisionChoice[] = ['auto', ...PRECISIONS];

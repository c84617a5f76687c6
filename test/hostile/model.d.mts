/** What every word of the hostile model's answers is. */
export const HOSTILE_ANSWER: string;

/** Makes a checkpoint whose answers are attacks, in a folder that does not exist yet. */
export function makeHostileModel(folder: string): Promise<void>;

/** What is remembered for a workspace between sessions: the last questions and the last images. */
import type * as vscode from 'vscode';

const QUESTIONS = 'fovea.recentQuestions';
const IMAGES = 'fovea.recentImages';

/** How many of each are kept. */
const LIMIT = 12;

export class Memory {
  constructor(private readonly state: vscode.Memento) {}

  /** Newest first. */
  questions(): readonly string[] {
    return this.state.get<string[]>(QUESTIONS, []);
  }

  async rememberQuestion(question: string): Promise<void> {
    await this.remember(QUESTIONS, question);
  }

  async forgetQuestion(question: string): Promise<void> {
    await this.state.update(
      QUESTIONS,
      this.questions().filter((known) => known !== question),
    );
  }

  /** URIs of images that were asked about, newest first; they may be gone by now. */
  images(): readonly string[] {
    return this.state.get<string[]>(IMAGES, []);
  }

  async rememberImage(uri: string): Promise<void> {
    await this.remember(IMAGES, uri);
  }

  private async remember(key: string, value: string): Promise<void> {
    const others = this.state.get<string[]>(key, []).filter((known) => known !== value);
    await this.state.update(key, [value, ...others].slice(0, LIMIT));
  }
}

/** Read-only documents that hold comparisons, shown in VS Code's Markdown preview. */
import * as vscode from 'vscode';

const SCHEME = 'fovea-comparison';

export class ComparisonDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly contents = new Map<string, string>();
  private readonly registration = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  private shown = 0;

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.contents.get(uri.toString()) ?? '';
  }

  async show(title: string, markdown: string): Promise<void> {
    this.shown += 1;
    const uri = vscode.Uri.from({
      scheme: SCHEME,
      path: `/${this.shown}/${title.replace(/[/\\?#]/g, ' ')}.md`,
    });
    this.contents.set(uri.toString(), markdown);
    await vscode.commands.executeCommand('markdown.showPreview', uri);
  }

  dispose(): void {
    this.registration.dispose();
  }
}

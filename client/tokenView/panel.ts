/** One webview panel: hosts the page, lets only valid messages through, and knows whether the page can receive. */
import * as vscode from 'vscode';
import type { FromTokenView, ToTokenView } from '../../server/protocol';
import { parseFromTokenView } from '../../server/traceView/messages';
import { resourceRoots, tokenViewHtml } from './html';

export const TOKEN_VIEW_TYPE = 'fovea.tokenView';

/** The tab's title while there is no image. */
export const NO_IMAGE_TITLE = vscode.l10n.t('Fovea Tokens');

export interface PanelListener {
  onMessage(message: FromTokenView): void;
  onDispose(): void;
}

export class TokenViewPanel {
  /** The page posted `ready` and has not been taken down since. Messages before that would be lost. */
  private ready = false;

  constructor(
    private readonly panel: vscode.WebviewPanel,
    extensionUri: vscode.Uri,
    listener: PanelListener,
    log: vscode.LogOutputChannel,
  ) {
    const { webview } = panel;
    webview.options = { enableScripts: true, localResourceRoots: resourceRoots(extensionUri) };
    panel.iconPath = vscode.Uri.joinPath(extensionUri, 'media', 'icon.png');
    webview.onDidReceiveMessage((message: unknown) => {
      const parsed = parseFromTokenView(message);
      if (!parsed) return log.warn('The token view sent a message that was not understood; it was ignored.');
      if (parsed.type === 'ready') this.ready = true;
      listener.onMessage(parsed);
    });
    panel.onDidChangeViewState(() => {
      if (!panel.visible) this.ready = false; // the page of a hidden panel is taken down
    });
    panel.onDidDispose(() => listener.onDispose());
    webview.html = tokenViewHtml(webview, extensionUri);
  }

  static create(preserveFocus: boolean): vscode.WebviewPanel {
    const column = { viewColumn: vscode.ViewColumn.Beside, preserveFocus };
    return vscode.window.createWebviewPanel(TOKEN_VIEW_TYPE, NO_IMAGE_TITLE, column, {
      enableScripts: true,
    });
  }

  /** Brings the view to the front, but never over the editor that the user is in: then it moves beside it. */
  async reveal(preserveFocus: boolean): Promise<void> {
    if (this.panel.visible && preserveFocus) return;
    const editor = vscode.window.activeTextEditor;
    const column = editor?.viewColumn;
    if (this.panel.visible || !editor || column !== this.panel.viewColumn) {
      return this.panel.reveal(this.panel.viewColumn, preserveFocus);
    }
    const others = vscode.window.tabGroups.all.filter(({ viewColumn }) => viewColumn !== column);
    this.panel.reveal(others[0]?.viewColumn ?? vscode.ViewColumn.Beside);
    // A moved tab is a preview, which the next file opened there would replace.
    await vscode.commands.executeCommand('workbench.action.keepEditor');
    if (preserveFocus) await vscode.window.showTextDocument(editor.document, column);
  }

  set title(title: string) {
    this.panel.title = title;
  }

  /** @returns whether the page was there to receive it; if not, it asks for the present state when it is back */
  post(message: ToTokenView): boolean {
    if (!this.ready) return false;
    void this.panel.webview.postMessage(message);
    return true;
  }

  dispose(): void {
    this.panel.dispose();
  }
}

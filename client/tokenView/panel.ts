/** One webview panel: hosts the page, lets only valid messages through, and knows whether the page can receive. */
import * as vscode from 'vscode';
import type { FromTokenView, ToTokenView } from '../../server/protocol';
import { parseFromTokenView } from '../../server/traceView/messages';
import { resourceRoots, tokenViewHtml } from './html';

export const TOKEN_VIEW_TYPE = 'fovea.tokenView';

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
    return vscode.window.createWebviewPanel(TOKEN_VIEW_TYPE, vscode.l10n.t('Fovea Tokens'), column, {
      enableScripts: true,
    });
  }

  /** Brings the view to the front, but never over the editor that the user is in: then it moves beside it. */
  reveal(preserveFocus: boolean): void {
    if (this.panel.visible && preserveFocus) return;
    const covers =
      !this.panel.visible && vscode.window.activeTextEditor?.viewColumn === this.panel.viewColumn;
    this.panel.reveal(covers ? vscode.ViewColumn.Beside : this.panel.viewColumn, preserveFocus);
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

/** The settings that the extension host itself needs; the language server reads its own. */
import * as vscode from 'vscode';
import { DEFAULT_SETTINGS, type Settings } from '../server/protocol';

/** How an image that is not square becomes one, as the token view offers it. */
export type ShownFit = 'pad' | 'crop';

/** The reduction that applies to an image, by its workspace folder. */
export function reductionSetting(resource: vscode.Uri | undefined): string {
  return vscode.workspace.getConfiguration('fovea', resource).get('reduction', DEFAULT_SETTINGS.reduction);
}

/** The fit that the token view shows for a setting: what `auto` does with a screenshot. */
export function shownFit(resource: vscode.Uri | undefined): ShownFit {
  const fit = vscode.workspace
    .getConfiguration('fovea', resource)
    .get<Settings['fit']>('fit', DEFAULT_SETTINGS.fit);
  return fit === 'crop' ? 'crop' : 'pad';
}

/** The settings that the extension host itself needs; the language server reads its own. */
import * as vscode from 'vscode';
import { DEFAULT_SETTINGS, type Settings } from '../server/protocol';

/** How an image that is not square becomes one, by the workspace folder of the image. */
export function fitSetting(resource: vscode.Uri | undefined): Settings['fit'] {
  return vscode.workspace.getConfiguration('fovea', resource).get('fit', DEFAULT_SETTINGS.fit);
}

/** The reduction that applies to an image, by its workspace folder. */
export function reductionSetting(resource: vscode.Uri | undefined): string {
  return vscode.workspace.getConfiguration('fovea', resource).get('reduction', DEFAULT_SETTINGS.reduction);
}

/** Every command of the manifest, and the one place where their failures are shown. */
import * as vscode from 'vscode';
import { errorLine, showError } from '../errors';
import { askAboutImage } from './askAboutImage';
import { askClipboard } from './askClipboard';
import { chooseModel } from './chooseModel';
import { compareReductions } from './compareReductions';
import type { CommandContext } from './context';
import { explainImage } from './explainImage';
import { clearCache, restartInference } from './maintenance';
import { trySample } from './trySample';

/** What a command does; the argument is whatever a menu, a hover or a keybinding passed. */
type Command = (context: CommandContext, argument: unknown) => void | Promise<void>;

/** By the names in the manifest, which `HoverCommand` of the protocol repeats for those that hovers link to. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  'fovea.ask': askAboutImage,
  'fovea.explain': explainImage,
  'fovea.askClipboard': askClipboard,
  'fovea.compareReductions': compareReductions,
  'fovea.trySample': trySample,
  'fovea.chooseModel': chooseModel,
  'fovea.showTokenView': ({ tokenView }) => tokenView.show(),
  'fovea.restartInference': restartInference,
  'fovea.showLog': ({ log }) => log.show(),
  'fovea.clearCache': clearCache,
};

export function registerCommands(context: CommandContext): vscode.Disposable {
  const registrations = Object.entries(COMMANDS).map(([name, command]) =>
    vscode.commands.registerCommand(name, async (argument: unknown) => {
      try {
        await command(context, argument);
      } catch (error) {
        context.log.error(`${name} failed: ${errorLine(error)}`);
        // Not awaited: a command ends with its work, not when a notification is read.
        void showError(error);
      }
    }),
  );
  return vscode.Disposable.from(...registrations);
}

/** The token view: inside the editor as a webview, or as a page of its own that an export wrote. */
import { App } from './app';
import { findHost } from './host';
import style from './style.css';
import { followSystemTheme } from './theme';
import { registerComponents } from './toolkit';

const sheet = new CSSStyleSheet();
sheet.replaceSync(style);
document.adoptedStyleSheets.push(sheet);

const host = findHost();
if (host.page) followSystemTheme();
registerComponents();
const root = document.getElementById('root') ?? document.body.appendChild(document.createElement('main'));
new App(root, host);

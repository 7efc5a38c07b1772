// The dialog that lists the keys.

import { html } from "./vendor/preact.js";
import { Dialog } from "./controls.js";
import { text } from "./text.js";

/** @param {{ onClose: () => void }} props */
export default function Help({ onClose }) {
    return html`<${Dialog} title=${text.shell.help} onClose=${onClose} class="help">
        <dl class="keys">
            ${text.shell.keys.map(([key, does]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${does}</dd></div>`)}
        </dl>
    <//>`;
}

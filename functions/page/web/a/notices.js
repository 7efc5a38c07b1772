// What the page tells the person: notices with Undo, the offline line, and the voice for screen readers.

import { html, useState } from "./vendor/preact.js";
import { Button, IconButton, classes } from "./controls.js";
import { Icon } from "./icons.js";
import { useStore } from "./store.js";
import { text } from "./text.js";

const SHOWN = 3;

/** The latest notices. Each leaves by itself. */
export function Notices() {
    const notices = useStore((state) => state.notices);
    const [dismissed, setDismissed] = useState(/** @type {string[]} */ ([]));
    return html`<div class="notices">
        ${notices.filter(({ id }) => !dismissed.includes(id)).slice(-SHOWN).map(
            (notice) => html`<div key=${notice.id} class=${classes("notice", notice.error && "failed")}>
                ${notice.error && html`<${Icon} name="warning" />`}
                <p>${notice.text}</p>
                ${notice.undo && html`<${Button} kind="quiet" onClick=${notice.undo}>${text.shell.undo}<//>`}
                <${IconButton} icon="close" label=${text.shell.dismiss} onClick=${() => setDismissed([...dismissed.slice(-SHOWN), notice.id])} />
            </div>`,
        )}
    </div>`;
}

/** Says that the page is offline, and how many changes wait. */
export function OfflineLine() {
    const isOffline = useStore((state) => state.connection === "offline");
    const waiting = useStore((state) => state.waiting);
    if (!isOffline && waiting === 0) return null;
    const sentence = isOffline ? (waiting > 0 ? text.shell.waiting(waiting) : text.shell.offline) : text.shell.sending(waiting);
    return html`<p class="offline-line" role="status"><${Icon} name="offline" /><span>${isOffline && waiting > 0 ? `${text.shell.offlineShort} ${sentence}` : sentence}</span></p>`;
}

/** Read by screen readers when it changes. */
export function Announcer() {
    const announcement = useStore((state) => state.announcement);
    return html`<p class="unseen" role="status" aria-live="polite">${announcement}</p>`;
}

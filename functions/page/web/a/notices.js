// What the page tells the person: notices with Undo, the offline line, and the voice for screen readers.

import { html } from "./vendor/preact.js";
import { Button, IconButton, classes } from "./controls.js";
import { Icon } from "./icons.js";
import { dismiss, useStore } from "./store.js";
import { text } from "./text.js";

const SHOWN = 3;

/** The latest notices. Each leaves by itself. */
export function Notices() {
    const notices = useStore((state) => state.notices);
    return html`<div class="notices" aria-live="polite">
        ${notices.slice(-SHOWN).map(
            (notice) => html`<div key=${notice.id} class=${classes("notice", notice.error && "failed")}>
                ${notice.error && html`<${Icon} name="warning" />`}
                <p>${notice.text}</p>
                ${notice.undo && html`<${Button} kind="quiet" onClick=${notice.undo}>${text.shell.undo}<//>`}
                <${IconButton} icon="close" label=${text.shell.dismiss} onClick=${() => dismiss(notice.id)} />
            </div>`,
        )}
    </div>`;
}

/** Says that the page is offline, and how many changes wait. */
export function OfflineLine() {
    const isOffline = useStore((state) => state.connection === "offline");
    const waiting = useStore((state) => state.waiting);
    const stale = useStore((state) => state.stale);
    if (stale) {
        return html`<div class="offline-line" role="alert">
            <${Icon} name="clock" /><p>${text.shell.stale(stale.count)}</p>
            <${Button} kind="quiet" onClick=${() => stale.send()}>${text.shell.sendStale}<//>
            <${Button} kind="quiet" onClick=${() => stale.discard()}>${text.shell.discardStale}<//>
        </div>`;
    }
    if (!isOffline && waiting === 0) return null;
    const sentence = waiting > 0 ? text.shell.waiting(waiting) : text.shell.offline;
    return html`<div class="offline-line" role="status"><${Icon} name="offline" /><p>${isOffline ? text.shell.offlineShort : text.shell.unsent} ${sentence}</p></div>`;
}

/** Read by screen readers when it changes. */
export function Announcer() {
    const announcement = useStore((state) => state.announcement);
    return html`<p class="unseen" role="status" aria-live="polite">${announcement}</p>`;
}

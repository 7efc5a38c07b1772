// The lists and tags: beside the list on a desktop, a bar at the bottom of a phone.

import { html } from "./vendor/preact.js";
import { Icon } from "./icons.js";
import { useSession } from "./session.js";
import { useStore } from "./store.js";
import { text } from "./text.js";

const LISTS = /** @type {const} */ (["today", "upcoming", "all", "done"]);

/** @param {{ route: import("./route.js").Route }} props */
export function Navigation({ route }) {
    const { today, overdue } = useStore((state) => state.counts);
    const tags = useStore((state) => state.tags);
    const { operator } = useSession();
    const current = (/** @type {boolean} */ is) => (is ? "page" : undefined);
    return html`<nav class="side" aria-label=${text.shell.navigation}>
        <ul class="lists">
            ${LISTS.map(
                (name) => html`<li key=${name}>
                    <a href=${`#/${name}`} aria-current=${current(route.view === name)}>
                        <${Icon} name=${name} />
                        <span class="label">${text.shell.views[name]}</span>
                        ${name === "today" && today > 0 && html`<${Count} count=${today} words=${overdue > 0 ? `${text.shell.open(today)}, ${text.shell.overdue(overdue)}` : text.shell.open(today)} />`}
                    </a>
                </li>`,
            )}
        </ul>
        ${tags.length > 0 && html`<div class="tags"><h2 class="unseen">${text.shell.tags}</h2><${TagLinks} route=${route} tags=${tags} /></div>`}
        ${operator &&
        html`<ul class="operator">
            <li>
                <a href="#/system" aria-current=${current(route.view === "system")}><${Icon} name="system" /><span class="label">${text.shell.views.system}</span></a>
            </li>
        </ul>`}
    </nav>`;
}

/** @param {{ route: import("./route.js").Route, tags: import("./store.js").Tag[] }} props */
export function TagLinks({ route, tags }) {
    return html`<ul>
        ${tags.map(
            ({ name, open_tasks }) => html`<li key=${name}>
                <a href=${`#/tag/${encodeURIComponent(name)}`} aria-current=${route.view === "tag" && route.tag === name ? "page" : undefined} title=${name}>
                    <span class="hash" aria-hidden="true">#</span>
                    <span class="label" dir="auto">${name}</span>
                    ${open_tasks > 0 && html`<${Count} count=${open_tasks} words=${text.shell.open(open_tasks)} />`}
                </a>
            </li>`,
        )}
    </ul>`;
}

/** @param {{ count: number, words: string }} props */
function Count({ count, words }) {
    return html`<span class="count" aria-hidden="true">${count}</span><span class="unseen">, ${words}</span>`;
}

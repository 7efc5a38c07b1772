// What frames every view. The header: name, search, whether the page is live, settings, account. And the navigation: the lists and tags, beside the
// list on a desktop, in a bar at the bottom of a phone.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Menu, classes } from "./controls.js";
import { Icon } from "./icons.js";
import { go, hashOf } from "./route.js";
import { signOut, useSession } from "./session.js";
import { useStore } from "./store.js";
import { text } from "./text.js";

const LISTS = /** @type {const} */ (["today", "upcoming", "all", "done"]);
const TYPING = 250;

/** @param {{ route: import("./route.js").Route, onHelp: () => void }} props */
export function Header({ route, onHelp }) {
    return html`<header class="top">
        <a class="name" href="#/today">${text.shell.name}</a>
        <${SearchField} route=${route} />
        <${Live} />
        <a class="icon-button settings-link" href="#/settings" aria-label=${text.shell.settings} title=${text.shell.settings} aria-current=${route.view === "settings" ? "page" : undefined}>
            <${Icon} name="settings" />
        </a>
        <${Account} onHelp=${onHelp} />
    </header>`;
}

/** Searches while the person types. An emptied field returns to the list before. @param {{ route: import("./route.js").Route }} props */
function SearchField({ route }) {
    const wanted = route.query?.get("q") ?? "";
    const [value, setValue] = useState(wanted);
    const field = useRef(/** @type {HTMLInputElement | null} */ (null));
    const from = useRef("#/today");
    const timer = useRef(0);
    if (route.view !== "search") from.current = hashOf({ ...route, task: undefined, reminder: undefined });
    useEffect(() => {
        if (document.activeElement !== field.current) setValue(wanted);
    }, [wanted, route.view]);

    const search = (/** @type {string} */ q) => {
        clearTimeout(timer.current);
        const query = new URLSearchParams(route.view === "search" ? route.query : undefined);
        if (q.trim()) query.set("q", q.trim());
        else query.delete("q");
        if (query.size === 0) {
            if (route.view === "search") go(from.current, { replace: true });
        } else go(hashOf({ view: "search", query }), { replace: route.view === "search" });
    };
    const input = (/** @type {any} */ event) => {
        const q = event.currentTarget.value;
        setValue(q);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => search(q), TYPING);
    };
    const key = (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") {
            event.preventDefault();
            setValue("");
            search("");
            field.current?.blur();
        } else if (event.key === "ArrowDown") {
            event.preventDefault();
            /** @type {HTMLElement | null} */ (document.querySelector("[data-row]"))?.focus();
        }
    };
    const submit = (/** @type {Event} */ event) => {
        event.preventDefault();
        search(value);
    };
    return html`<form class="search" role="search" onSubmit=${submit}>
        <${Icon} name="search" />
        <input
            ref=${field}
            id="search"
            type="search"
            aria-label=${text.shell.search}
            placeholder=${text.shell.search}
            autocomplete="off"
            enterkeyhint="search"
            maxlength="500"
            value=${value}
            onInput=${input}
            onKeyDown=${key}
        />
        <kbd aria-hidden="true">/</kbd>
    </form>`;
}

/** Says in words whether changes made elsewhere arrive. */
function Live() {
    const connection = useStore((state) => state.connection);
    const { word, title } = text.shell.connection[connection];
    return html`<p class=${classes("live", `is-${connection}`)} title=${title}>
        <span class="dot" aria-hidden="true"></span><span class="word" aria-hidden="true">${word}</span><span class="unseen">${title}</span>
    </p>`;
}

/** @param {{ onHelp: () => void }} props */
function Account({ onHelp }) {
    const { email, operator } = useSession();
    const address = useStore((state) => state.me?.email) ?? email;
    /** @type {import("./controls.js").Items} */
    const items = [
        ...(address ? [{ heading: address }] : []),
        { label: text.shell.settings, icon: "settings", onSelect: () => go("#/settings") },
        ...(operator ? [{ label: text.shell.views.system, icon: "system", onSelect: () => go("#/system") }] : []),
        ...(matchMedia("(any-hover: hover)").matches ? [{ label: text.shell.help, icon: "help", onSelect: onHelp }] : []),
        "-",
        { label: text.shell.signOut, icon: "leave", onSelect: signOut },
    ];
    return html`<${Menu} class="account" label=${text.shell.account(address)} align="end" items=${items}>
        <${Icon} name="person" /><span class="address">${address}</span>
    <//>`;
}

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

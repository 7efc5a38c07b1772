// The header: name, search, whether the page is live, settings, account.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Menu, classes } from "./controls.js";
import { Icon } from "./icons.js";
import { go, hashOf } from "./route.js";
import { signOut, useSession } from "./session.js";
import { useStore } from "./store.js";
import { text } from "./text.js";

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
        { label: text.shell.help, icon: "help", onSelect: onHelp },
        "-",
        { label: text.shell.signOut, icon: "leave", onSelect: signOut },
    ];
    return html`<${Menu} class="account" label=${text.shell.account(address)} align="end" items=${items}>
        <${Icon} name="person" /><span class="address">${address}</span>
    <//>`;
}

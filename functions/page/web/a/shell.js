// What surrounds every view: header, navigation, the panel of a task, notices, help.

import { html, useEffect, useErrorBoundary, useRef, useState } from "./vendor/preact.js";
import { Button, IconButton, classes } from "./controls.js";
import { Header, Navigation } from "./frame.js";
import { Icon } from "./icons.js";
import { useKeyboard } from "./keyboard.js";
import { later, quiet } from "./later.js";
import List, { Filters } from "./list.js";
import { PANELS } from "./quick-add.js";
import { go, useRoute, withoutTask } from "./route.js";
import { dismiss, keyOf, useStore } from "./store.js";
import { text } from "./text.js";

/** @typedef {import("./route.js").Route} Route */

/** How many notices are shown at a time. */
const SHOWN = 3;

const Task = later(() => import("./task.js"), { styles: ["task.css", "properties.css"] });
const Help = later(() => import("./help.js"));
const Snooze = later(() => import("./snooze.js"), { name: "Snooze" });
/** @type {Partial<Record<Route["view"], any>>} */
const PAGES = {
    settings: later(() => import("./settings.js"), { styles: ["settings.css"] }),
    system: later(() => import("./system.js"), { styles: ["settings.css"] }),
    act: later(() => import("./act.js"), { styles: ["settings.css"] }),
};

export default function Shell() {
    const route = useRoute();
    const [help, setHelp] = useState(false);
    const [snoozed, setSnoozed] = useState(/** @type {string | null} */ (null));
    const close = usePanelHistory(route);
    useKeyboard({ route, close, onHelp: () => setHelp(true), onSnooze: setSnoozed });
    useTitle(route);
    useEffect(() => {
        // Without a network they are loaded when they are opened.
        void quiet.then(() => [...Object.values(PANELS), Task, Filters, Snooze].forEach((part) => part.preload().catch(() => {})));
    }, []);

    const View = PAGES[route.view] ?? List;
    const closeHelp = () => {
        setHelp(false);
        if (route.help) go("#/today", { replace: true });
    };
    return html`<div class=${classes("shell", route.task && "with-panel")}>
        <button type="button" class="skip" onClick=${() => document.getElementById("main")?.focus()}>${text.shell.toList}</button>
        <${Header} route=${route} onHelp=${() => setHelp(true)} />
        <${Navigation} route=${route} />
        <main id="main" tabindex="-1">
            <${OfflineLine} />
            <${Guard} key=${route.view}><${View} route=${route} capability=${route.capability} /><//>
        </main>
        ${route.task && html`<${Panel} key=${keyOf(route.task)} route=${route} close=${close} />`}
        <${Notices} />
        <${Announcer} />
        ${(help || route.help) && html`<${Help} onClose=${closeHelp} />`}
        ${snoozed && html`<${Snooze} id=${snoozed} onClose=${() => setSnoozed(null)} />`}
    </div>`;
}

/** The open task: beside the list, or over it where there is no room. @param {{ route: Route, close: () => void }} props */
function Panel({ route, close }) {
    const panel = useRef(/** @type {HTMLElement | null} */ (null));
    useEffect(() => {
        if (!panel.current?.contains(document.activeElement)) panel.current?.focus({ preventScroll: true });
        return () => {
            // The row shows where the person was. Without it the list takes the focus.
            const row = document.querySelector(`[data-row="${CSS.escape(route.task ?? "")}"]`);
            setTimeout(() => {
                if (document.activeElement !== document.body) return;
                /** @type {HTMLElement | null} */ (row ?? document.getElementById("main"))?.focus({ preventScroll: true });
            });
        };
    }, []);
    return html`<aside class="panel" ref=${panel} tabindex="-1" aria-label=${text.shell.task}>
        <div class="panel-close"><${IconButton} icon="close" label=${text.shell.closeTask} onClick=${close} /></div>
        <${Guard}><${Task} id=${route.task} route=${route} /><//>
    </aside>`;
}

/** Closes the panel so that Back does not open it again, and Forward does. @param {Route} route */
function usePanelHistory(route) {
    const steps = useRef(0);
    const before = useRef(/** @type {Route | null} */ (null));
    if (before.current !== route) {
        if (!route.task) steps.current = 0;
        else if (before.current) steps.current += 1;
        before.current = route;
    }
    return () => (steps.current === 1 ? history.back() : go(withoutTask(), { replace: true }));
}

/** @param {Route} route */
function useTitle(route) {
    const title = useStore((state) => (route.task && state.tasks.get(route.task)?.task.title) || "");
    useEffect(() => {
        const view = route.view === "tag" ? `#${route.tag}` : text.shell.views[route.view];
        document.title = text.shell.title(title || view);
    }, [route, title]);
}

/** Keeps a view that fails from taking the others with it. @param {{ children?: any }} props */
function Guard({ children }) {
    const [error] = useErrorBoundary((failure) => console.error(failure));
    if (!error) return children;
    return html`<div class="state" role="alert">
        <p>${text.shell.broken}</p>
        <${Button} onClick=${() => location.reload()}>${text.shell.reload}<//>
    </div>`;
}

/** The latest notices. Each leaves by itself. */
function Notices() {
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
function OfflineLine() {
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
function Announcer() {
    const announcement = useStore((state) => state.announcement);
    return html`<p class="unseen" role="status" aria-live="polite">${announcement}</p>`;
}

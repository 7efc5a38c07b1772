// A list of tasks, grouped by day where days order it.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { Button, Empty, ErrorState, Spinner, classes } from "./controls.js";
import { TagLinks } from "./frame.js";
import { focusNew } from "./keyboard.js";
import { later } from "./later.js";
import QuickAdd from "./quick-add.js";
import { go, isByDue, isFiltered } from "./route.js";
import { Row } from "./row.js";
import { keyOf, load, loadMore, placeOf, useStore, viewOf } from "./store.js";
import { capital, text } from "./text.js";
import { day, daysFromToday, shortDate } from "./times.js";

/** @typedef {import("./route.js").Route} Route */
/** @typedef {{ key: string, name: string, date: string, overdue?: boolean, rows: import("./store.js").Row[] }} Group */

/** Rows that a list shows first: a screen of them. On a slow phone the others would delay them. */
const FIRST = 12;

export const Filters = later(() => import("./filters.js"));

/** @param {{ route: Route }} props */
export default function List({ route }) {
    const key = viewOf(route);
    useEffect(() => void load(key), [key]);
    useEffect(() => scrollTo(0, 0), [key]);
    useMinutes();
    const view = useStore((state) => state.views.get(key));
    const tasks = useStore((state) => state.tasks);
    const list = useRef(/** @type {HTMLElement | null} */ (null));
    const ids = view?.ids ?? [];
    useKeptFocus(list, ids);

    const rows = ids.flatMap((id) => tasks.get(id) ?? []);
    const shown = useSteps(key, rows.length);
    const isSearch = route.view === "search";
    const title = route.view === "tag" ? `#${route.tag}` : text.shell.views[route.view];
    return html`<div class=${classes("list-view", `view-${route.view}`)}>
        <h1 class=${classes(route.view !== "tag" && route.view !== "done" && "unseen")} dir="auto">${title}</h1>
        ${isSearch && html`<${Filters} route=${route} count=${view?.state === "ready" ? rows.length : null} more=${view?.more} />`}
        ${!isSearch && route.view !== "done" && html`<${QuickAdd} route=${route} />`}
        ${route.view === "all" && html`<${Tags} route=${route} />`}
        <div ref=${list} class="list" aria-busy=${view?.state === "loading"}>
            <${Content} route=${route} view=${view} rows=${rows.slice(0, shown)} retry=${() => load(key)} />
        </div>
        ${view?.more && shown >= rows.length && html`<${More} key=${key} load=${() => loadMore(key)} />`}
    </div>`;
}

/** @param {{ route: Route, view: import("./store.js").View | undefined, rows: import("./store.js").Row[], retry: () => void }} props */
function Content({ route, view, rows, retry }) {
    if (rows.length === 0) {
        if (!view || view.state === "loading") return html`<${Spinner} />`;
        if (view.state === "error") return html`<${ErrorState} error=${view.error} onRetry=${retry} />`;
        return html`<${Nothing} route=${route} />`;
    }
    const failed = view?.state === "error" && html`<${ErrorState} error=${view.error} onRetry=${retry} />`;
    const isFlat = route.view === "done" || (route.view === "search" && !isByDue(route));
    if (isFlat) return [failed, html`<ul class="rows flat">${rows.map((row) => html`<${Row} key=${keyOf(row.task.id)} row=${row} route=${route} flat=${true} />`)}</ul>`];
    return [
        failed,
        ...byDay(rows, route).map(
            (group) => html`<section key=${group.key} class=${classes("group", group.overdue && "overdue")}>
                <h2>${group.name}${group.date && html`<span class="date"> · ${group.date}</span>`}</h2>
                <ul class=${classes("rows", group.overdue && "flat")}>
                    ${group.rows.map((row) => html`<${Row} key=${keyOf(row.task.id)} row=${row} route=${route} flat=${group.overdue} />`)}
                </ul>
            </section>`,
        ),
    ];
}

/**
 * Rows by day: earlier days together, then each day, then the tasks without one. Keeps the order of the rows within a day.
 * @param {import("./store.js").Row[]} rows
 * @param {Route} route
 * @returns {Group[]}
 */
function byDay(rows, { view }) {
    // A task without a day that is written here stays until the person leaves.
    const elsewhere = view === "today" || view === "upcoming" ? text.list.inAll : "";
    /** @type {Map<number, Group>} */
    const groups = new Map();
    for (const row of rows) {
        const at = placeOf(row.task);
        const days = at === null ? Infinity : daysFromToday(at);
        const key = days < 0 ? -1 : days;
        let group = groups.get(key);
        if (!group) {
            group = { key: String(key), ...heading(key, at, elsewhere), rows: [] };
            groups.set(key, group);
        }
        group.rows.push(row);
    }
    return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** @param {number} days @param {number | null} at @param {string} elsewhere where tasks without a day are found */
function heading(days, at, elsewhere) {
    if (at === null) return { name: text.list.noDate, date: elsewhere };
    if (days < 0) return { name: text.list.overdue, date: "", overdue: true };
    if (days >= 7) return { name: shortDate(at, "short"), date: "" };
    return { name: capital(day(at)), date: shortDate(at, days < 2 ? "short" : undefined) };
}

/** @param {{ route: Route }} props */
function Nothing({ route }) {
    const sentence = text.list.empty[/** @type {keyof typeof text.list.empty} */ (route.view)];
    if (route.view === "done") return html`<${Empty}>${sentence}<//>`;
    if (route.view === "search") return html`<${NothingFound} query=${route.query ?? new URLSearchParams()}>${sentence}<//>`;
    return html`<${Empty} action=${text.list.emptyAction.task} onAction=${focusNew}>${sentence}<//>`;
}

/** @param {{ query: URLSearchParams, children?: any }} props */
function NothingFound({ query, children }) {
    const q = query.get("q") ?? "";
    const { widen, change } = text.list.emptyAction;
    if (isFiltered(query)) return html`<${Empty} action=${widen} onAction=${() => go(`#/search?${new URLSearchParams({ q })}`)}>${children}<//>`;
    return html`<${Empty} action=${change} onAction=${() => document.getElementById("search")?.focus()}>${children}<//>`;
}

/** Tags on a phone, which has no navigation beside the list. @param {{ route: Route }} props */
function Tags({ route }) {
    const tags = useStore((state) => state.tags);
    if (tags.length === 0) return null;
    return html`<nav class="tag-strip" aria-label=${text.shell.tags}><${TagLinks} route=${route} tags=${tags} /></nav>`;
}

/** Loads the next page when its end comes near, and by a button for who does not scroll. @param {{ load: () => Promise<void> }} props */
function More({ load: loadNext }) {
    const [busy, setBusy] = useState(false);
    const end = useRef(/** @type {HTMLElement | null} */ (null));
    const next = async () => {
        setBusy(true);
        try {
            await loadNext();
        } finally {
            setBusy(false);
        }
    };
    useEffect(() => {
        if (busy || !end.current) return;
        const watch = new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && next(), { rootMargin: "400px" });
        watch.observe(end.current);
        return () => watch.disconnect();
    }, [busy]);
    return html`<p class="more" ref=${end}><${Button} kind="quiet" busy=${busy} onClick=${next}>${busy ? text.list.loadingMore : text.list.more}<//></p>`;
}

/** How many rows of a list are shown: a screen of them first, then all. @param {string} key @param {number} count */
function useSteps(key, count) {
    const [complete, setComplete] = useState("");
    useEffect(() => {
        if (count === 0 || complete === key) return;
        const timer = setTimeout(setComplete, 0, key);
        return () => clearTimeout(timer);
    }, [key, count > 0]);
    return complete === key ? count : FIRST;
}

/** Renders again each minute, so that what is overdue says so. */
function useMinutes() {
    const [, render] = useState(0);
    useEffect(() => {
        const timer = setInterval(() => render((count) => count + 1), 60_000);
        return () => clearInterval(timer);
    }, []);
}

/**
 * When the row with the focus disappears, the next row takes the focus.
 * @param {import("./vendor/preact.js").Ref<HTMLElement | null>} list
 * @param {string[]} ids
 */
function useKeptFocus(list, ids) {
    const focused = useRef(/** @type {{ id: string, index: number, check: boolean } | null} */ (null));
    useEffect(() => {
        const element = list.current;
        if (!element) return;
        const enter = (/** @type {FocusEvent} */ event) => {
            const target = /** @type {Element} */ (event.target);
            const row = /** @type {HTMLElement | null | undefined} */ (target.closest(".row")?.querySelector("[data-row]"));
            if (!row) return;
            const all = [...element.querySelectorAll("[data-row]")];
            focused.current = { id: row.dataset.row ?? "", index: all.indexOf(row), check: target.matches(".check") };
        };
        const leave = (/** @type {FocusEvent} */ event) => {
            const target = /** @type {Element} */ (event.target);
            setTimeout(() => {
                if (target.isConnected && !element.contains(document.activeElement)) focused.current = null;
            });
        };
        element.addEventListener("focusin", enter);
        element.addEventListener("focusout", leave);
        return () => {
            element.removeEventListener("focusin", enter);
            element.removeEventListener("focusout", leave);
        };
    }, []);
    useLayoutEffect(() => {
        const lost = focused.current;
        if (!lost || document.activeElement !== document.body) return;
        const all = /** @type {HTMLElement[]} */ ([...(list.current?.querySelectorAll("[data-row]") ?? [])]);
        const row = all.find((other) => other.dataset.row === lost.id) ?? all[Math.min(lost.index, all.length - 1)];
        if (!row) focusNew();
        else if (lost.check) /** @type {HTMLElement} */ (row.closest(".row")?.querySelector(".check"))?.focus();
        else row.focus();
    });
}

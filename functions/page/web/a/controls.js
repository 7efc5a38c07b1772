// The controls that every view is made of.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { Icon } from "./icons.js";
import { capital, text } from "./text.js";

let ids = 0;

/** An id that stays the same while the component lives. @param {string} [given] */
export function useId(given) {
    const [id] = useState(() => `c${++ids}`);
    return given ?? id;
}

/** @param {...(string | false | null | undefined)} names */
export function classes(...names) {
    return names.filter(Boolean).join(" ");
}

/**
 * `kind`: "primary" once a view, "quiet" for links that act, "danger" for what destroys.
 * @param {{ kind?: "primary" | "quiet" | "danger", icon?: string, busy?: boolean, class?: string, children?: any, [attribute: string]: any }} props
 */
export function Button({ kind, icon, busy, class: extra, children, disabled, inputRef, ...rest }) {
    return html`<button type="button" ref=${inputRef} class=${classes("button", kind, extra)} disabled=${disabled || busy} aria-busy=${busy || undefined} ...${rest}>
        ${icon && html`<${Icon} name=${icon} />`}${children}
    </button>`;
}

/** @param {{ icon: string, label: string, class?: string, [attribute: string]: any }} props */
export function IconButton({ icon, label, class: extra, inputRef, ...rest }) {
    return html`<button type="button" ref=${inputRef} class=${classes("icon-button", extra)} aria-label=${label} title=${label} ...${rest}>
        <${Icon} name=${icon} />
    </button>`;
}

/**
 * A label with its control: `control(attributes)` renders the control with the attributes that tie it to label, hint and error.
 * @param {{ id: string, label: string, hint?: any, error?: any, control: (attributes: object) => any, class?: string }} props
 */
function Labelled({ id, label, hint, error, control, class: extra }) {
    const about = error ? `${id}-error` : hint ? `${id}-hint` : undefined;
    return html`<div class=${classes("field", extra)}>
        <label for=${id}>${label}</label>
        ${control({ id, class: "input", "aria-describedby": about, "aria-invalid": error ? "true" : undefined })}
        ${error ? html`<p class="error" id=${`${id}-error`}>${error}</p>` : hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    </div>`;
}

/** A one-line input; `onValue` gets the text. @param {{ label: string, value?: string, onValue?: (value: string) => void, hint?: any, error?: any, id?: string, [attribute: string]: any }} props */
export function Field({ label, hint, error, id, onValue, class: extra, inputRef, ...rest }) {
    const own = useId(id);
    const control = (/** @type {object} */ tied) =>
        html`<input type="text" ref=${inputRef} ...${tied} onInput=${onValue && ((/** @type {any} */ e) => onValue(e.currentTarget.value))} ...${rest} />`;
    return html`<${Labelled} id=${own} ...${{ label, hint, error, control }} class=${extra} />`;
}

/** @param {{ label: string, value?: string, onValue?: (value: string) => void, hint?: any, error?: any, id?: string, [attribute: string]: any }} props */
export function TextArea({ label, hint, error, id, onValue, class: extra, inputRef, ...rest }) {
    const own = useId(id);
    const control = (/** @type {object} */ tied) =>
        html`<textarea rows="3" ref=${inputRef} ...${tied} onInput=${onValue && ((/** @type {any} */ e) => onValue(e.currentTarget.value))} ...${rest}></textarea>`;
    return html`<${Labelled} id=${own} ...${{ label, hint, error, control }} class=${extra} />`;
}

/**
 * `options` are `[value, label]` pairs or plain strings.
 * @param {{ label: string, options: (string | [string, string])[], value: string, onValue: (value: string) => void, hint?: any, error?: any, id?: string, [attribute: string]: any }} props
 */
export function Select({ label, options, value, onValue, hint, error, id, class: extra, ...rest }) {
    const own = useId(id);
    const control = (/** @type {object} */ tied) =>
        html`<span class="select">
            <select ...${tied} value=${value} onChange=${(/** @type {any} */ e) => onValue(e.currentTarget.value)} ...${rest}>
                ${options.map((option) => {
                    const [key, shown] = Array.isArray(option) ? option : [option, option];
                    return html`<option key=${key} value=${key} selected=${key === value}>${shown}</option>`;
                })}
            </select>
            <${Icon} name="open" size=${14} />
        </span>`;
    return html`<${Labelled} id=${own} ...${{ label, hint, error, control }} class=${extra} />`;
}

/** @param {{ label: any, hint?: any, checked: boolean, onChange: (checked: boolean) => void, [attribute: string]: any }} props */
export function Switch({ label, hint, checked, onChange, ...rest }) {
    return html`<button type="button" role="switch" class="switch" aria-checked=${String(checked)} onClick=${() => onChange(!checked)} ...${rest}>
        <span>${label}${hint && html`<br /><span class="small muted">${hint}</span>`}</span>
        <span class="track" aria-hidden="true"></span>
    </button>`;
}

/**
 * A modal dialog. Rendering it opens it; Escape, the close button and a click beside it call `onClose`. Focus returns to where it was.
 * @param {{ title: string, onClose: () => void, children?: any, footer?: any, class?: string }} props
 */
export function Dialog({ title, onClose, children, footer, class: extra }) {
    const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
    const id = useId();
    useLayoutEffect(() => {
        const opener = document.activeElement;
        const element = dialog.current;
        element?.showModal();
        return () => {
            element?.close();
            if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
        };
    }, []);
    const cancel = (/** @type {Event} */ event) => {
        event.preventDefault();
        onClose();
    };
    return html`<dialog
        ref=${dialog}
        class=${classes("dialog", extra)}
        aria-labelledby=${id}
        onCancel=${cancel}
        onClick=${(/** @type {Event} */ e) => e.target === dialog.current && onClose()}
    >
        <header>
            <h2 id=${id}>${title}</h2>
            <${IconButton} icon="close" label=${text.controls.close} onClick=${onClose} />
        </header>
        <div class="body">${children}</div>
        ${footer && html`<footer>${footer}</footer>`}
    </dialog>`;
}

/**
 * A heading that opens and closes what follows it.
 * @param {{ label: any, children?: any, class?: string }} props
 */
export function Disclosure({ label, children, class: extra }) {
    const [shown, setShown] = useState(false);
    const id = useId();
    return html`<div class=${classes("disclosure", extra)}>
        <button type="button" aria-expanded=${String(shown)} aria-controls=${id} onClick=${() => setShown(!shown)}><${Icon} name="open" />${label}</button>
        <div id=${id} hidden=${!shown}>${shown && children}</div>
    </div>`;
}

/** Says that something is loading, but only if it takes more than 300 ms. @param {{ label?: string }} props */
export function Spinner({ label = text.controls.loading }) {
    const [late, setLate] = useState(false);
    useEffect(() => {
        const timer = setTimeout(() => setLate(true), 300);
        return () => clearTimeout(timer);
    }, []);
    return html`<p class="spinner" role="status">${late && label}</p>`;
}

/**
 * One sentence and at most one action, where a list or a view has nothing to show.
 * @param {{ children?: any, action?: string, onAction?: () => void, href?: string }} props
 */
export function Empty({ children, action, onAction, href }) {
    return html`<div class="state">
        <p>${children}</p>
        ${action && (href ? html`<a class="button" href=${href}>${action}</a>` : html`<${Button} onClick=${onAction}>${action}<//>`)}
    </div>`;
}

/**
 * Says why something could not be shown, in the server's words where it has any.
 * @param {{ error: any, onRetry?: () => void }} props
 */
export function ErrorState({ error, onRetry }) {
    const wait = useWait(error);
    const action = wait > 0 ? text.controls.waitSeconds(wait) : text.controls.tryAgain;
    return html`<div class="state" role="alert">
        <p>${errorText(error)}</p>
        ${onRetry && html`<${Button} disabled=${wait > 0} onClick=${onRetry}>${action}<//>`}
    </div>`;
}

/** One sentence about a Problem, an Unreachable or any other error. @param {any} error */
export function errorText(error) {
    if (error?.status === 403) return text.controls.forbidden;
    if (error?.status === 429) return text.controls.tooMany;
    if (error?.status >= 500 && /^about:blank$|:unavailable$/.test(error.type)) return text.controls.unavailable;
    if (error?.status) return sentence(error.detail || error.title || text.controls.refused(error.status));
    return text.controls.unreachable;
}

/** The server's words as a sentence. When to try again stands on the button. @param {string} words */
const sentence = (words) => capital(words.replace(/[,;]?( or)? retry after the time in `Retry-After`$/, ""));

/** The seconds until a refused request may be repeated. @param {any} error */
function useWait(error) {
    const [left, setLeft] = useState(0);
    useEffect(() => {
        const until = Date.now() + (Number(error?.retryAfter) || 0) * 1000;
        const tick = () => setLeft(Math.max(0, Math.ceil((until - Date.now()) / 1000)));
        tick();
        if (until <= Date.now()) return;
        const timer = setInterval(tick, 1000);
        return () => clearInterval(timer);
    }, [error]);
    return left;
}

/**
 * `checked` makes an item one of a group of choices; `"-"` is a line; an item with only `heading` is a caption.
 * @typedef {{ label: any, icon?: string, onSelect: () => void, danger?: boolean, checked?: boolean, disabled?: boolean }} Item
 * @typedef {(Item | { heading: any } | "-")[]} Items
 */

/**
 * @param {{ label?: string, title?: string, class?: string, icon?: string, children?: any,
 *   items: Items, align?: "start" | "end", [attribute: string]: any }} props
 *   `label` names a button that has only an icon; `children` are the button's visible content.
 */
export function Menu({ label, class: extra = "icon-button", icon, children, items, align = "start", ...rest }) {
    const [open, setOpen] = useState(false);
    const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
    const list = useRef(/** @type {HTMLDivElement | null} */ (null));

    useLayoutEffect(() => {
        const menu = list.current;
        if (!open || !menu || !button.current) return;
        menu.showPopover();
        place(menu, button.current.getBoundingClientRect(), align);
        const first = /** @type {HTMLElement | null} */ (menu.querySelector('[aria-checked="true"], [role^="menuitem"]:not(:disabled)'));
        first?.focus({ preventScroll: true });
        const gone = () => setOpen(false);
        addEventListener("resize", gone);
        return () => removeEventListener("resize", gone);
    }, [open]);

    const choose = (/** @type {Item} */ item) => {
        setOpen(false);
        button.current?.focus();
        item.onSelect();
    };
    return html`<button
            type="button"
            ref=${button}
            class=${extra}
            aria-haspopup="menu"
            aria-expanded=${String(open)}
            aria-label=${label}
            title=${label}
            onClick=${() => setOpen(!open)}
            ...${rest}
        >
            ${icon && html`<${Icon} name=${icon} />`}${children}
        </button>
        ${open &&
        html`<div
            ref=${list}
            class="menu"
            role="menu"
            popover="auto"
            onKeyDown=${(/** @type {KeyboardEvent} */ e) => move(e, () => (setOpen(false), button.current?.focus()))}
            onToggle=${(/** @type {any} */ e) => e.newState === "closed" && setOpen(false)}
        >
            ${items.map((item) => {
                if (item === "-") return html`<hr />`;
                if ("heading" in item) return html`<div class="heading">${item.heading}</div>`;
                const choice = item.checked !== undefined;
                return html`<button
                    type="button"
                    role=${choice ? "menuitemradio" : "menuitem"}
                    aria-checked=${choice ? String(item.checked) : undefined}
                    tabindex="-1"
                    disabled=${item.disabled}
                    class=${item.danger && "danger"}
                    onClick=${() => choose(item)}
                >
                    ${(choice || item.icon) && html`<span class="mark">${(item.icon || item.checked) && html`<${Icon} name=${item.icon ?? "check"} />`}</span>`}
                    <span>${item.label}</span>
                </button>`;
            })}
        </div>`}`;
}

/** @param {HTMLElement} menu @param {DOMRect} at @param {"start" | "end"} align */
function place(menu, at, align) {
    const margin = 8;
    const { offsetWidth: width, offsetHeight: height } = menu;
    const below = at.bottom + 4;
    const top = below + height + margin > innerHeight ? Math.max(margin, at.top - height - 4) : below;
    const left = align === "end" ? at.right - width : at.left;
    menu.style.top = `${top}px`;
    menu.style.left = `${Math.min(Math.max(margin, left), innerWidth - width - margin)}px`;
}

/** Arrow keys, Home and End move; Tab and Escape close. @param {KeyboardEvent} event @param {() => void} close */
function move(event, close) {
    const menu = /** @type {HTMLElement} */ (event.currentTarget);
    const items = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll('[role^="menuitem"]:not(:disabled)')]);
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    event.stopPropagation();
    if (event.key === "Escape" || event.key === "Tab") {
        event.preventDefault();
        close();
    } else if (to !== undefined) {
        event.preventDefault();
        items[(to + items.length) % items.length]?.focus();
    }
}

// One set of icons: 16 units, a round stroke of 1.5, so that they sit beside the type like letters.
import { html } from "./vendor/preact.js";

/** @type {Record<string, string>} */
const paths = {
    plus: "M8 3v10M3 8h10",
    search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.8 10.8 14 14",
    clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 5v3.2l2 1.3",
    alarm: "M8 14a5 5 0 1 0 0-10 5 5 0 0 0 0 10ZM8 6.5V9l1.6 1M2 4.6 4.4 2.5M14 4.6l-2.4-2.1",
    bell: "M3.5 11.5h9c-.9-.9-1.2-1.7-1.2-4.2C11.3 4.9 10 3.5 8 3.5S4.7 4.9 4.7 7.3c0 2.5-.3 3.3-1.2 4.2ZM6.8 13.7h2.4M8 2v1.5",
    repeat: "M3 7.5V7a2.5 2.5 0 0 1 2.5-2.5H13M11 2.5l2 2-2 2M13 8.5V9a2.5 2.5 0 0 1-2.5 2.5H3M5 13.5l-2-2 2-2",
    calendar: "M2.5 4.5a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1h-9a1 1 0 0 1-1-1ZM2.5 7h11M5.5 2v2.5M10.5 2v2.5",
    today: "M2.5 4.5a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1h-9a1 1 0 0 1-1-1ZM2.5 7h11M5.5 2v2.5M10.5 2v2.5M6 10.2l1.4 1.4L10.2 9",
    upcoming: "M2.5 4.5a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1h-9a1 1 0 0 1-1-1ZM2.5 7h11M5.5 2v2.5M10.5 2v2.5M5.5 10.3h5M8.7 8.6l1.8 1.7-1.8 1.7",
    all: "M5.5 4H14M5.5 8H14M5.5 12H14M2 4h.6M2 8h.6M2 12h.6",
    done: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM5.3 8.2l1.9 1.9 3.6-3.9",
    check: "M3 8.5l3.2 3.2L13 4.8",
    tag: "M8.5 2.5H13a.5.5 0 0 1 .5.5v4.5l-5.7 5.7a1 1 0 0 1-1.4 0L2.8 9.6a1 1 0 0 1 0-1.4ZM10.8 5.2h.01",
    flag: "M3.5 14V2.5h8.5L10.3 5.5 12 8.5H3.5",
    down: "M8 2.5v10M4 9l4 4 4-4",
    settings: "M2 5h6M12 5h2M2 11h2M8 11h6M10 7a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM6 13a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
    person: "M8 8a2.7 2.7 0 1 0 0-5.4A2.7 2.7 0 0 0 8 8ZM2.8 13.5c.6-2.3 2.7-3.5 5.2-3.5s4.6 1.2 5.2 3.5",
    system: "M1.5 8.5h3l2-5 3 9 2-4h3",
    help: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM6.2 6.3C6.3 5.3 7 4.7 8 4.7c1 0 1.8.7 1.8 1.6 0 1.3-1.8 1.3-1.8 2.6M8 11.2h.01",
    close: "M4 4l8 8M12 4l-8 8",
    back: "M9.5 3.5 5 8l4.5 4.5",
    forward: "M6.5 3.5 11 8l-4.5 4.5",
    open: "M3.5 6 8 10.5 12.5 6",
    more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
    undo: "M3 6.5h6.5a3.5 3.5 0 0 1 0 7H6M5.8 3.5l-3 3 3 3",
    warning: "M8 2.5 14 13H2ZM8 6.5v3M8 11.3h.01",
    offline: "M2 2l12 12M5 8.3A4.5 4.5 0 0 1 6.8 7.2M9.8 7.4a4.5 4.5 0 0 1 1.3.9M2.7 5.8A8 8 0 0 1 4.6 4.6M7.5 3.8a8 8 0 0 1 5.8 2M8 11.8h.01",
    pencil: "M3 13l.6-2.7 7.2-7.2a1 1 0 0 1 1.4 0l.7.7a1 1 0 0 1 0 1.4l-7.2 7.2Z",
    trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 9h5.8l.6-9M6.8 7v4M9.2 7v4",
    mail: "M2 4.5a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1ZM2.3 4.8 8 9l5.7-4.2",
    phone: "M5 2.5h6a.7.7 0 0 1 .7.7v9.6a.7.7 0 0 1-.7.7H5a.7.7 0 0 1-.7-.7V3.2A.7.7 0 0 1 5 2.5ZM7.3 11.5h1.4",
    history: "M2.5 8A5.5 5.5 0 1 0 4.3 3.9L2.5 5.5M2.5 2.5v3h3M8 5v3.2l2 1.3",
    leave: "M9.5 3H4a1 1 0 0 0-1 1v8a1 1 0 0 0 1 1h5.5M7 8h7M11.5 5.5 14 8l-2.5 2.5",
    download: "M8 2.5v8M4.8 7.5 8 10.7l3.2-3.2M3 13.5h10",
    send: "M2.5 8 13.5 3l-3 10.5-3-4.5ZM7.5 9l3-3",
};

/**
 * A decorative icon. Give the control that holds it a label.
 * @param {{ name: string, size?: number }} props
 */
export function Icon({ name, size = 16 }) {
    return html`<svg
        class="icon"
        width=${size}
        height=${size}
        viewBox="0 0 16 16"
        fill="none"
        stroke="currentColor"
        stroke-width="1.5"
        stroke-linecap="round"
        stroke-linejoin="round"
        aria-hidden="true"
    >
        <path d=${paths[name]} />
    </svg>`;
}

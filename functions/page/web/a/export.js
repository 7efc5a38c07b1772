// The export of a person's data as one file.

import { open } from "./api.js";

/** Bytes that are handed to the browser at a time, which may keep them on the disk. */
const PART = 1 << 20;
const LINE = 10;

/** The export ended before its last line. */
export class Incomplete extends Error {}

/**
 * Reads the whole export, also where the server gives it in parts.
 * @param {(lines: number) => void} onLines is told how many there are
 * @param {AbortSignal} signal
 * @returns {Promise<{ file: Blob, lines: number }>}
 */
export async function read(onLines, signal) {
    const collected = collector();
    let lines = 0;
    let cursor = "";
    do {
        const answer = await open(`/v1/export${cursor && `?cursor=${encodeURIComponent(cursor)}`}`, { signal });
        const last = await collect(answer, collected, (count) => onLines((lines += count)));
        if (last.end === undefined) throw new Incomplete();
        cursor = last.end ? "" : last.next_cursor;
    } while (cursor);
    // Parts end with counts of their own, so the file gets one end.
    collected.add(new TextEncoder().encode(`${JSON.stringify({ end: true, count: lines })}\n`));
    return { file: collected.file(), lines };
}

/**
 * Collects the lines of an answer but the last one, which it returns: it says whether they are all.
 * @param {Response} answer
 * @param {ReturnType<typeof collector>} collected
 * @param {(count: number) => void} onLines
 * @returns {Promise<{ end?: boolean, next_cursor?: any }>}
 */
async function collect(answer, collected, onLines) {
    if (!answer.body) throw new Incomplete();
    const reader = answer.body.getReader();
    let line = new Uint8Array();
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
        const bytes = joined(line, chunk.value);
        const isWhole = bytes.at(-1) === LINE;
        // Behind this is the last line that has begun.
        const from = bytes.lastIndexOf(LINE, bytes.length - (isWhole ? 2 : 1)) + 1;
        const before = bytes.subarray(0, from);
        line = bytes.slice(from);
        collected.add(before);
        onLines(before.reduce((count, byte) => count + (byte === LINE ? 1 : 0), 0));
    }
    try {
        return JSON.parse(new TextDecoder().decode(line));
    } catch {
        throw new Incomplete();
    }
}

/** @param {Uint8Array} first @param {Uint8Array} second */
function joined(first, second) {
    const both = new Uint8Array(first.length + second.length);
    both.set(first);
    both.set(second, first.length);
    return both;
}

function collector() {
    /** @type {Blob[]} */
    const parts = [];
    /** @type {Uint8Array<ArrayBuffer>[]} */
    let waiting = [];
    let size = 0;
    const flush = () => {
        parts.push(new Blob(waiting));
        waiting = [];
        size = 0;
    };
    return {
        /** @param {Uint8Array} bytes */
        add(bytes) {
            waiting.push(bytes.slice());
            size += bytes.length;
            if (size >= PART) flush();
        },
        file() {
            flush();
            return new Blob(parts, { type: "application/x-ndjson" });
        },
    };
}

/** Saves a file like a link that is pressed. @param {Blob} file @param {string} name */
export function save(file, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = name;
    link.click();
    // The browser needs the address until it has begun.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Server-Sent Events, as the HTML standard says how to read them.

/** @typedef {{ type: string, data: string, id: string | undefined, retry: number | undefined }} ServerEvent */

/**
 * Reads a stream of events. `heard` is called for every piece that arrives, comments among them.
 * @param {ReadableStream<Uint8Array>} body
 * @param {() => void} heard
 * @returns {AsyncGenerator<ServerEvent>}
 */
export async function* read(body, heard) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    let event = blank();
    try {
        for (;;) {
            const { value, done } = await reader.read();
            if (done) return;
            heard();
            rest += decoder.decode(value, { stream: true });
            // A carriage return at the end may be half of a line end.
            const lines = rest.split(/\r\n|\n|\r(?!$)/);
            rest = lines.pop() ?? "";
            for (const line of lines) {
                if (line !== "") {
                    take(event, line);
                    continue;
                }
                if (event.data || event.retry !== undefined) yield { ...event, data: event.data.replace(/\n$/, "") };
                event = blank();
            }
        }
    } finally {
        void reader.cancel().catch(() => {});
    }
}

/** @returns {ServerEvent} */
const blank = () => ({ type: "message", data: "", id: undefined, retry: undefined });

/** @param {ServerEvent} event @param {string} line */
function take(event, line) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "event") event.type = value;
    else if (field === "data") event.data += `${value}\n`;
    else if (field === "id" && !value.includes("\0")) event.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
}

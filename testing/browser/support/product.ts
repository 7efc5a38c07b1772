// The running product: addresses, tokens, mail, and what no client can do.
import { execFileSync } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { components } from "../../../functions/page/web/api-types.js";

export type Schemas = components["schemas"];
export type Task = Schemas["Task"];

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run the tests by \`cargo xtask browser-test\``);
  return value;
}

export const product = {
  /** Page, API and stream from one origin. */
  get url() { return variable("ONE_ORIGIN"); },
  /** A page whose API and stream have origins of their own. */
  get threeOrigins() { return variable("THREE_ORIGINS"); },
  get streamPort() { return Number(variable("STREAM_PORT")); },
  /** A page with an identity provider, whose API has another origin, and which has no stream. */
  get signIn() { return variable("SIGN_IN"); },
  get issuer() { return variable("ISSUER"); },
  get audience() { return variable("AUDIENCE"); },
  get clientId() { return variable("CLIENT_ID"); },
  /** Signs the tokens of users. */
  get secret() { return variable("JWT_SECRET"); },
};

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** A user whom no other test knows, with a client of the API. */
export class User {
  readonly id = randomUUID();
  readonly email: string;
  readonly token: string;

  constructor(name = "ada", { operator = false, seconds = 3600, email = "" } = {}) {
    this.email = email || `${name}-${this.id.slice(0, 8)}@browser.test`;
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub: this.id, email: this.email, iat: now - 5, exp: now + seconds, ...(operator && { scope: "operator" }) };
    const signed = `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded(claims)}`;
    this.token = `${signed}.${createHmac("sha256", product.secret).update(signed).digest("base64url")}`;
  }

  /** The answer to a request, whatever its status. */
  async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(product.url + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json", ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  }

  /** The body of an answer that is 2xx. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.send(method, path, body);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (text ? JSON.parse(text) : undefined) as T;
  }

  create(task: Schemas["NewTask"]): Promise<Task> { return this.ask("POST", "/v1/tasks", task); }
  read(id: string): Promise<Task> { return this.ask("GET", `/v1/tasks/${id}`); }
  change(id: string, patch: Schemas["TaskPatch"]): Promise<Task> { return this.ask("PATCH", `/v1/tasks/${id}`, patch); }
  complete(id: string): Promise<Task> { return this.ask("POST", `/v1/tasks/${id}/complete`); }
  me(): Promise<Schemas["Me"]> { return this.ask("GET", "/v1/me"); }
  changeMe(patch: Schemas["MePatch"]): Promise<Schemas["Me"]> { return this.ask("PATCH", "/v1/me", patch); }

  async tasks(): Promise<Task[]> { return (await this.ask<Schemas["TaskPage"]>("GET", "/v1/tasks")).items; }

  /** The only task with this title. */
  async named(title: string): Promise<Task> {
    const found = (await this.tasks()).filter((task) => task.title === title);
    if (found.length !== 1) throw new Error(`${found.length} tasks are called ${title}`);
    return found[0]!;
  }

  async timeline(reminder: string): Promise<Schemas["Timeline"]> { return this.ask("GET", `/v1/reminders/${reminder}/timeline`); }
  async devices(): Promise<Schemas["PushSubscription"][]> {
    return (await this.ask<Schemas["PushSubscriptions"]>("GET", "/v1/push-subscriptions")).items;
  }
}

/** The messages that a user got, with the text of all their parts. */
export function mailTo(user: User): { subject: string; text: string }[] {
  const folder = variable("MAIL_DIR");
  const messages = readdirSync(folder).filter((name) => name.endsWith(".eml")).map((name) => readFileSync(join(folder, name), "utf8"));
  return messages.filter((message) => message.includes(user.email)).map((message) => {
    const [head = ""] = message.split(/\r?\n\r?\n/, 1);
    const subject = /^subject: (.*(?:\r?\n[ \t].*)*)/im.exec(head)?.[1] ?? "";
    const boundary = /boundary="?([^"\r\n;]+)/i.exec(head)?.[1];
    const parts = boundary ? message.split(`--${boundary}`).slice(1, -1) : [message];
    return { subject: words(subject), text: parts.map(decoded).join("\n") };
  });
}

/** The text of a part of a message. */
function decoded(part: string): string {
  const at = part.search(/\r?\n\r?\n/);
  const [head, body] = [part.slice(0, at), part.slice(at).trim()];
  const encoding = /^content-transfer-encoding: *(\S+)/im.exec(head)?.[1]?.toLowerCase();
  if (encoding === "base64") return Buffer.from(body, "base64").toString("utf8");
  return encoding === "quoted-printable" ? unquoted(body.replace(/=\r?\n/g, "")) : body;
}

const unquoted = (text: string) =>
  text.replace(/(?:=[0-9A-F]{2})+/g, (bytes) => Buffer.from(bytes.replaceAll("=", ""), "hex").toString("utf8"));

/** A header, unfolded and with its encoded words (RFC 2047) decoded. */
function words(header: string): string {
  const unfolded = header.replace(/\r?\n[ \t]+/g, " ").replace(/\?= =\?/g, "?==?");
  return unfolded.replace(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_, kind: string, text: string) =>
    kind.toLowerCase() === "b" ? Buffer.from(text, "base64").toString("utf8") : unquoted(text.replaceAll("_", " ")));
}

/** Runs a statement on the product's database; returns its rows, with columns separated by `|`. */
export function sql(statement: string): string {
  const options = ["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-d", variable("DATABASE_URL"), "-c", statement];
  return execFileSync(variable("PSQL"), options, { encoding: "utf8" }).trim();
}

/** Gives a user many tasks, `task 1` the newest, without the limits of the API. */
export function fill(user: User, count: number, due = "null"): void {
  sql(`insert into tasks (user_id, title, created_at, due_at)
       select '${user.id}', 'task ' || n, now() - make_interval(secs => n), ${due} from generate_series(1, ${count}) n`);
}

/** Delivers a message to a dead-letter topic of a function, as daprd does. */
export async function deadLetter(consumer: string, payload: string): Promise<void> {
  const answer = await fetch(`${product.url}/events/dead-letters/${consumer}`, {
    method: "POST",
    headers: { "dapr-api-token": variable("APP_API_TOKEN"), "content-type": "application/json" },
    body: payload,
  });
  if (!answer.ok) throw new Error(`the dead letter was not stored: ${answer.status}`);
}

/** The instant in so many minutes, in full seconds. */
export function inMinutes(minutes: number): string {
  return new Date(Math.round((Date.now() + minutes * 60_000) / 1000) * 1000).toISOString();
}

/** A wall-clock time in Berlin, where the browsers are, some days from today. */
export function inBerlin(days: number, hours: number, minutes = 0): Date {
  const today = new Intl.DateTimeFormat("sv-SE", { timeZone: "Europe/Berlin" }).format(new Date(Date.now() + days * 86_400_000));
  const wanted = `${today}T${String(hours).padStart(2, "0")}:${String(minutes).padStart(2, "0")}`;
  for (const offset of ["+01:00", "+02:00"]) {
    const instant = new Date(`${wanted}:00${offset}`);
    const shown = new Intl.DateTimeFormat("sv-SE", { timeZone: "Europe/Berlin", dateStyle: "short", timeStyle: "short" }).format(instant);
    if (shown.replace(" ", "T") === wanted) return instant;
  }
  throw new Error(`${wanted} does not exist in Berlin`);
}

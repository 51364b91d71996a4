import type { Drop } from "./client.js";
import type { components } from "./generated/schema.js";
import { advice, DropError, ForeignAnswer, mediaType, refusal } from "./problem.js";

export type Transaction = components["schemas"]["Transaction"];

export type Following = {
  /** The last version that was shown before: only what came after it is sent. */
  lastEventId?: string;
  signal?: AbortSignal;
  /** Milliseconds before a stream that broke off is opened again. */
  pause?: number;
  fetch?: typeof fetch;
};

/**
 * A payment as it changes, until its bank's last word. A stream that ends before, which each does after ten minutes, is
 * opened again with `Last-Event-ID`: nothing is shown twice, and the last state is never missed.
 */
export async function* follow(drop: Drop, id: string, following: Following = {}): AsyncGenerator<Transaction, void> {
  const { signal, fetch: send = fetch } = following;
  let { lastEventId, pause = 1000 } = following;
  for (;;) {
    let asked = 0;
    try {
      const response = await open(send, drop, id, lastEventId, signal);
      if (response.status === 204) return;
      if (!response.ok) {
        throw refusal("followTransaction", await response.json().catch(() => undefined), response);
      }
      if (response.body === null || mediaType(response) !== "text/event-stream") throw new ForeignAnswer(response);
      for await (const event of events(response.body)) {
        lastEventId = event.id ?? lastEventId;
        pause = event.retry ?? pause;
        if (event.data === "") continue;
        const payment = JSON.parse(event.data) as Transaction;
        yield payment;
        if (payment.bankFinal) return;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!passes(error)) throw error;
      asked = error instanceof DropError ? (error.retryAfter ?? 0) : 0;
    }
    const rest = Math.max(pause, asked * 1000);
    await new Promise((resolve) => setTimeout(resolve, rest));
    signal?.throwIfAborted();
  }
}

/** Whether coming back cures it, be it the stream's or that of a refresh on the way to it. */
function passes(error: unknown): boolean {
  if (error instanceof DropError) {
    const { code, problem }: DropError = error;
    // What no client knows, or what stands before the service has lost, goes by its status.
    if (code === "other") return problem.status >= 500;
    return advice[code] === "try again later, with the same Idempotency-Key";
  }
  // `fetch` reports a lost connection as a TypeError, and one that nobody answers ends as a session's refresh does.
  return error instanceof TypeError || (error instanceof DOMException && error.name === "TimeoutError");
}

/** Longer than the service is silent, in milliseconds: every 15 s it sends a comment. */
const SILENCE = 45_000;

/** A stream that is silent for longer is a lost connection. */
async function within<T>(milliseconds: number, reading: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TypeError("the stream fell silent")), milliseconds);
  });
  try {
    return await Promise.race([reading, silence]);
  } finally {
    clearTimeout(timer);
  }
}

async function open(send: typeof fetch, drop: Drop, id: string, seen: string | undefined, signal?: AbortSignal) {
  const url = `${drop.baseUrl}/v1/transactions/${encodeURIComponent(id)}/events`;
  const opened = (token: string | undefined) => {
    const headers = new Headers({ Accept: "text/event-stream" });
    if (token !== undefined) headers.set("Authorization", `Bearer ${token}`);
    if (seen !== undefined) headers.set("Last-Event-ID", seen);
    return send(url, { headers, redirect: "manual", cache: "no-store", ...(signal && { signal }) });
  };
  const token = await drop.access.token();
  const response = await opened(token);
  if (response.status !== 401 || token === undefined) return response;
  const renewed = await drop.access.renewed(token);
  return renewed === undefined ? response : opened(renewed);
}

export type Event = {
  id: string | undefined;
  data: string;
  /** Milliseconds before a stream that breaks off should be opened again. */
  retry: number | undefined;
};

const nothing: Event = { id: undefined, data: "", retry: undefined };

/** The messages of a `text/event-stream`; comments, which only keep it open, are passed over. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Event, void> {
  let event = nothing;
  for await (const line of lines(body)) {
    if (line === "") {
      if (event !== nothing) yield { ...event, data: event.data.replace(/\n$/, "") };
      event = nothing;
      continue;
    }
    const colon = line.indexOf(":");
    const [name, value] = colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    if (name === "data") event = { ...event, data: `${event.data}${value}\n` };
    if (name === "id" && !value.includes("\0")) event = { ...event, id: value };
    if (name === "retry" && /^[0-9]+$/.test(value)) event = { ...event, retry: Number(value) };
  }
}

/** The whole lines of a stream, wherever it is cut. What has no end is none. */
async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await within(SILENCE, reader.read());
      if (done) return;
      text += decoder.decode(value, { stream: true });
      // A carriage return at the very end may be half of an end of line.
      const whole = text.split(/\r\n|\n|\r(?!$)/);
      text = whole.pop() ?? "";
      yield* whole;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

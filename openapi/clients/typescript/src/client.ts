import createClient, { type Client } from "openapi-fetch";
import type { paths } from "./generated/schema.js";

export type Drop = Client<paths> & {
  readonly baseUrl: string;
  readonly accessToken: () => Promise<string | undefined>;
};

/** Every operation of the document, with the access token that `accessToken` gives for each call. */
export function connect(baseUrl: string, accessToken: () => Promise<string | undefined> = async () => undefined): Drop {
  // Redirects are for browsers: a program that followed one would send its token on.
  const client = createClient<paths>({ baseUrl, redirect: "manual" });
  client.use({
    async onRequest({ request }) {
      const token = await accessToken();
      if (token !== undefined) request.headers.set("Authorization", `Bearer ${token}`);
      return request;
    },
  });
  return Object.assign(client, { baseUrl, accessToken });
}

/** A new name for one intention. Keep it until the outcome is known, and send it again with every repetition. */
export const newKey = (): string => crypto.randomUUID();

/** `Prefer`: wait this long for the outcome; the service waits 10 to 15 s when nothing is said, and never longer. */
export const wait = (seconds: number): string => `wait=${Math.trunc(seconds)}`;

/** `Prefer`: do not wait, answer 202 and let me look at `Location`. */
export const respondAsync = "respond-async";

/** Reads until the answer is as wanted; for what goes on after a 202. A payment is better followed, see `follow`. */
export async function until<T>(read: () => Promise<T>, wanted: (seen: T) => boolean, seconds = 30): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (let pause = 200; ; pause = Math.min(pause * 2, 3000)) {
    const seen = await read();
    if (wanted(seen)) return seen;
    if (Date.now() + pause > deadline) throw new Error(`not so within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

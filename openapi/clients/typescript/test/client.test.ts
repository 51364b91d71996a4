/** The client beside a service that answers as it should not, and streams that are cut anywhere. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { data, DropError, follow, ForeignAnswer, outcome, Session, type Saved } from "../src/index.js";
import { events, type Event } from "../src/follow.js";

const id = "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697";
const person = { id: "usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697", firstName: "Anna", lastName: "Hansen", kycStatus: "approved" };

/** A service of a few lines, for one test. */
async function served(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const session = (url: string, keep?: (saved: Saved) => void, freshUntil = Date.now() + 60_000): Session =>
  Session.restore(url, { person, accessToken: "old", refreshToken: "first", freshUntil }, keep);

function json(response: ServerResponse, status: number, body: object): void {
  const type = status < 400 ? "application/json; charset=utf-8" : "application/problem+json";
  response.writeHead(status, { "Content-Type": type }).end(JSON.stringify(body));
}

const problem = (status: number, code: string) => ({
  type: `urn:drop:problem:${code}`, title: code, status, detail: code, code, errors: [],
  request_id: "019a8c5e-7d1f-7c3a-9b52-0f6d3e8a4c11",
});

// ── Answers of what stands between ──────────────────────────────────────────────────────────────────────────────────────
for (const [status, type, body] of [
  [502, "text/html", "<h1>Bad gateway</h1>"],
  [503, "application/problem+json", '{"type": "about:blank", "title": "The edge\'s own"}'],
  [403, "application/json", "[]"],
  [200, "text/html", "<form>Please sign in to this network</form>"],
] as const) {
  test(`${status} with ${body} is a typed error`, () =>
    served(
      (_, response) => void response.writeHead(status, { "Content-Type": type, "Retry-After": "7" }).end(body),
      async (url) => {
        const { drop } = session(url);
        const answer = await outcome("getMe", drop.GET("/v1/me"));
        assert.ok(!answer.ok && answer.error instanceof ForeignAnswer && answer.error.code === "other");
        assert.deepEqual([answer.status, answer.error.problem.status, answer.error.retryAfter], [status, status, 7]);
        await assert.rejects(data("getMe", drop.GET("/v1/me")), ForeignAnswer);
      },
    ));
}

// ── Tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
test("a token that is refused is renewed once for all calls, and the new one is kept before it is used", async () => {
  const seen: string[] = [];
  let late = 0;
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const { url, headers } = request;
    seen.push(`${url} ${headers.authorization ?? ""}`.trim());
    if (url === "/v1/auth/refresh") {
      json(response, 200, { accessToken: "new", refreshToken: "second", expiresIn: 600, tokenType: "Bearer" });
    } else if (headers.authorization === "Bearer new") json(response, 200, person);
    else setTimeout(() => json(response, 401, problem(401, "unauthenticated")), 80 * late++); // some only after the refresh
  };
  await served(answer, async (url) => {
    const kept: Saved[] = [];
    const { drop } = session(url, (saved) => {
      assert.ok(!seen.includes("/v1/me Bearer new"), "kept before it is used");
      kept.push(saved);
    });
    const me = () => data("getMe", drop.GET("/v1/me"));
    assert.deepEqual(await Promise.all([me(), me(), me()]), [person, person, person]);
    assert.equal(seen.filter((line) => line === "/v1/auth/refresh").length, 1);
    assert.deepEqual(kept.map(({ accessToken, refreshToken }) => [accessToken, refreshToken]), [["new", "second"]]);
    // What was kept is enough to go on, in another process.
    const [saved] = JSON.parse(JSON.stringify(kept)) as [Saved];
    const restored = Session.restore(url, saved);
    assert.deepEqual([await restored.accessToken(), restored.person], ["new", person]);
    assert.equal(seen.filter((line) => line === "/v1/auth/refresh").length, 1, "it is fresh");
  });
});

test("a session that is over is said once, after one attempt", async () => {
  let asked = 0;
  await served(
    (_, response) => {
      asked += 1;
      json(response, 401, problem(401, "unauthenticated"));
    },
    async (url) => {
      const answer = await outcome("getMe", session(url).drop.GET("/v1/me"));
      assert.ok(!answer.ok && answer.error.code === "unauthenticated");
      assert.equal(asked, 2, "the call, and the refresh");
      await assert.rejects(follow(session(url).drop, id).next(), { code: "unauthenticated" });
    },
  );
});

test("a refresh whose answer an edge lost is asked for once more", async () => {
  let asked = 0;
  await served(
    (_, response) => {
      asked += 1;
      if (asked === 1) response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad gateway</h1>");
      else json(response, 200, { accessToken: "new", refreshToken: "second", expiresIn: 600, tokenType: "Bearer" });
    },
    async (url) => assert.equal(await session(url, undefined, 0).accessToken(), "new"),
  );
});

// ── Streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
const whole = [
  "\u{feff}: a comment\n",
  'id: 1\r\ndata: {"a":\r\ndata:  "ø\u2028"}\r\n\r\n',
  ":\n\n",
  "retry: 250\n\n",
  "retry: soon\nid: 2\nevent: message\ndata:two\r\r",
  "id\ndata\n\n",
  "data: never ended",
].join("");
const expected: Event[] = [
  { id: "1", data: '{"a":\n "ø\u2028"}', retry: undefined },
  { id: undefined, data: "", retry: 250 },
  { id: "2", data: "two", retry: undefined },
  { id: "", data: "", retry: undefined },
];

test("a stream is read the same wherever it is cut", async () => {
  const bytes = new TextEncoder().encode(whole);
  for (let size = 1; size <= bytes.length; size += 1) {
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= bytes.length) controller.close();
        else controller.enqueue(bytes.subarray(at, (at += size)));
      },
    });
    const read: Event[] = [];
    for await (const event of events(body)) read.push(event);
    assert.deepEqual(read, expected, `in pieces of ${size}`);
  }
});

test("a stream that ends is taken up after what was seen, as soon as it asks for", async () => {
  const last: (string | undefined)[] = [];
  const shown = (version: number) => `id: ${version}\ndata: ${JSON.stringify({ id, version, bankFinal: version === 3 })}\n\n`;
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    last.push(request.headers["last-event-id"] as string | undefined);
    if (last.length === 2) return void response.writeHead(504, { "Content-Type": "text/html" }).end("<h1>Timeout</h1>");
    const stream = response.writeHead(200, { "Content-Type": "text/event-stream" });
    return void stream.end(last.length === 1 ? `retry: 10\n\n${shown(1)}` : shown(2) + shown(3));
  };
  await served(answer, async (url) => {
    const versions: number[] = [];
    const began = Date.now();
    for await (const { version } of follow(session(url).drop, id, { pause: 5000 })) versions.push(version);
    assert.deepEqual(versions, [1, 2, 3]);
    assert.deepEqual(last, [undefined, "1", "1"]);
    assert.ok(Date.now() - began < 4000, "the stream's own pause");
  });
});

test("what no waiting cures is thrown", () =>
  served(
    (_, response) => json(response, 404, problem(404, "not_found")),
    async (url) =>
      assert.rejects(follow(session(url).drop, id).next(), (error) => error instanceof DropError && error.code === "not_found"),
  ));

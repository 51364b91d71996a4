/** A new person's way from login to a paid bill, with the client, against the running system. */
import assert from "node:assert/strict";
import {
  advice,
  data,
  finishLogin,
  follow,
  LoginEnded,
  newKey,
  outcome,
  respondAsync,
  Session,
  startLogin,
  until,
  wait,
  type Refusal,
  type Saved,
  type Transaction,
} from "../src/index.js";
import { approves, cutAfterFirst, isVerified, patiently, signsIn } from "./person.js";

const api = process.env["DROP_API"] ?? "http://127.0.0.1:8080";

// ── Login ───────────────────────────────────────────────────────────────────────────────────────────────────────────
const abandoned = await patiently(() => startLogin(api));
await assert.rejects(
  finishLogin(api, abandoned, await signsIn(abandoned.authorizationUrl, "cancel")),
  (error) => error instanceof LoginEnded && error.code === "bankid_cancelled",
);
const login = await patiently(() => startLogin(api));
const link = await signsIn(login.authorizationUrl, "marko");
assert.equal(await finishLogin(api, abandoned, link), null, "a link of another login is passed over");
const kept: Saved[] = [];
const keep = (saved: Saved) => void kept.push(saved);
const first = await patiently(() => finishLogin(api, login, link, keep));
assert.ok(first);
assert.equal(first.person.firstName, "Marko");

// Tokens are refreshed once, however many calls want it.
const before = await first.accessToken();
await Promise.all([first.refresh(), first.refresh()]);
assert.notEqual(await first.accessToken(), before);

// The app was closed, and is opened again with what it has kept.
assert.equal(kept.length, 2);
const session = Session.restore(api, JSON.parse(JSON.stringify(kept.at(-1))) as Saved, keep);
const { drop } = session;
assert.equal(await session.accessToken(), await first.accessToken());

// ── Identity check ──────────────────────────────────────────────────────────────────────────────────────────────────
const early = await outcome("linkBank", drop.POST("/v1/bank-consents", keyed(newKey())));
assert.ok(!early.ok && early.error.code === "kyc_required" && early.status === 403);

const params = { header: { Prefer: respondAsync } };
const body = { email: "marko@example.com" };
const told = await outcome("startKyc", drop.POST("/v1/kyc/applicant", { params, body }));
assert.ok(told.ok && told.status === 202, "respond-async does not wait");
const kyc = () => data("getKyc", drop.GET("/v1/kyc"));
await until(kyc, (seen) => seen.applicant === "created");
const { token } = await data("createKycSdkToken", drop.POST("/v1/kyc/sdk-token"));
assert.ok(token.length > 0);
await isVerified(session.person.id);
await until(kyc, (seen) => seen.status === "approved");
const { notifications } = await data("listNotifications", drop.GET("/v1/me/notifications"));
assert.equal(notifications[0]?.kind, "kyc");

// ── Bank and balance ────────────────────────────────────────────────────────────────────────────────────────────────
const linking = newKey();
const consent = await data("linkBank", drop.POST("/v1/bank-consents", keyed(linking)));
const again = await data("linkBank", drop.POST("/v1/bank-consents", keyed(linking)));
assert.equal(again.id, consent.id, "the same key is the same consent");
await approves(consent.scaRedirect);
const accounts = () => data("listBankAccounts", drop.GET("/v1/bank-accounts"));
const account = (await until(accounts, (seen) => seen.accounts.length > 0)).accounts[0];
assert.ok(account);
const path = { id: account.id };
const balance = await data(
  "refreshBalance",
  drop.POST("/v1/bank-accounts/{id}/balance/refresh", { params: { path, header: { Prefer: wait(10) } } }),
);
assert.ok(balance !== undefined && "amount" in balance && balance.currency === "NOK" && !balance.stale);

// ── Payment ─────────────────────────────────────────────────────────────────────────────────────────────────────────
const order = {
  accountId: account.id,
  instructedAmount: { amount: "199.50", currency: "NOK" },
  creditorName: "Typescript AS",
  creditorAccount: { iban: "HR1210010051863000160" },
};
const pay = (key: string, body: typeof order & { confirmDuplicateOf?: string }, prefer?: string) =>
  outcome(
    "createTransaction",
    drop.POST("/v1/transactions", {
      params: { header: { "Idempotency-Key": key, ...(prefer !== undefined && { Prefer: prefer }) } },
      body,
    }),
  );
const paying = newKey();
const asked = await pay(paying, order, respondAsync);
assert.ok(asked.ok && asked.status === 202, `${asked.status}`);
assert.equal(asked.response.headers.get("Location"), `/v1/transactions/${asked.data.id}`);
const repeated = await pay(paying, order);
assert.ok(repeated.ok && repeated.status === 201 && repeated.data.id === asked.data.id);
assert.equal(repeated.response.headers.get("Idempotent-Replayed"), "true");
const { id, scaRedirect } = repeated.data;

const reused = await pay(paying, { ...order, creditorName: "Somebody else" });
assert.ok(!reused.ok && reused.error.code === "idempotency_key_reused");
const equal = await pay(newKey(), order);
assert.ok(!equal.ok && equal.error.code === "possible_duplicate");
assert.equal(equal.error.location, `/v1/transactions/${id}`);
const nonsense = await pay(newKey(), { ...order, instructedAmount: { amount: "-1", currency: "NOK" } });
assert.ok(!nonsense.ok && whatNow(nonsense.error) === "show instructedAmount.amount");

// ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────────────
const opened: (string | null)[] = [];
const seen: Transaction[] = [];
const following = { pause: 50, fetch: cutAfterFirst(opened) };
for await (const payment of follow(drop, id, following)) {
  seen.push(payment);
  if (seen.length === 1) await approves(scaRedirect);
  // A look lets the bank be asked at once, so that its last word need not be waited for.
  else if (!payment.bankFinal) setTimeout(() => void drop.GET("/v1/transactions/{id}", { params: { path: { id } } }), 3100);
}
const versions = seen.map((payment) => payment.version);
assert.deepEqual(versions, [...new Set(versions)].sort((a, b) => a - b), "each version once, in order");
const last = seen.at(-1);
assert.ok(last?.status === "completed" && last.bankFinal && last.bankStatus === "ACSC");
assert.equal(opened[0], null);
assert.equal(opened[1], String(versions[0]), "it comes back with the last version that was shown");
for await (const _ of follow(drop, id, { lastEventId: String(last.version) })) assert.fail("nothing more comes");

const unknown = { params: { path: { id: "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697" } } };
const nobodys = await outcome("getTransaction", drop.GET("/v1/transactions/{id}", unknown));
assert.ok(!nobodys.ok && nobodys.error.code === "not_found" && advice[nobodys.error.code] === "tell the person");

// ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────────
await data("endSessions", drop.DELETE("/v1/sessions"));
const over = await outcome("getMe", drop.GET("/v1/me"));
assert.ok(!over.ok && over.error.code === "unauthenticated" && advice[over.error.code] === "sign in again");
await assert.rejects(follow(drop, id).next(), { code: "unauthenticated" });
console.log(`TypeScript: every step was as expected; versions ${versions.join(", ")}`);

function keyed(key: string) {
  return { params: { header: { "Idempotency-Key": key, Prefer: wait(10) } } };
}

/** Every problem of a payment. It does not compile while one of them is forgotten, nor with one that does not come here. */
function whatNow(error: Refusal<"createTransaction">): string {
  switch (error.code) {
    case "validation_failed":
      return `show ${error.problem.errors.map((wrong) => wrong.field).join(", ")}`;
    case "possible_duplicate":
      return `ask whether to pay beside ${error.location}`;
    case "circuit_open":
      return error.location === undefined ? "nothing was started" : `accepted: look at ${error.location}`;
    case "kyc_required":
    case "limit_exceeded":
    case "not_found":
    case "conflict":
      return `say ${error.code}`;
    case "unauthenticated":
    case "forbidden":
      return "sign in again";
    case "bad_request":
    case "payload_too_large":
    case "unsupported_media_type":
    case "idempotency_key_reused":
      return "our mistake";
    case "request_timeout":
    case "rate_limited":
    case "internal_error":
    case "overloaded":
    case "unavailable":
    case "other":
      return `repeat with the same key after ${error.retryAfter ?? 1} s`;
    default:
      return error satisfies never;
  }
}

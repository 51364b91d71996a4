import { answers, statuses, type Code, type Operation } from "./generated/codes.js";
import type { components } from "./generated/schema.js";

export type { Code, Operation };
export type Problem = components["schemas"]["Problem"];

/** The codes that an operation documents. */
export type CodeOf<O extends Operation> = (typeof answers)[O][number];

/** A problem that the service answered with. `code` is what a program decides by; `other` is one newer than this client. */
export class DropError<C extends Code | "other" = Code | "other"> extends Error {
  constructor(
    readonly code: C,
    readonly problem: Problem,
    /** Seconds after which another attempt makes sense, where the service said so; with `possible_duplicate` another look. */
    readonly retryAfter: number | undefined,
    /** Where to look, where the service said so: the equal payment of `possible_duplicate`, for one. */
    readonly location: string | undefined,
  ) {
    super(`${problem.code} (${problem.status}): ${problem.detail} [request ${problem.request_id}]`);
    this.name = "DropError";
  }
}

/** One of the problems that an operation documents. A `switch` over its `code` that forgets one does not compile. */
export type Refusal<O extends Operation> = { [C in CodeOf<O> | "other"]: DropError<C> }[CodeOf<O> | "other"];

export type Answer<O extends Operation, T> =
  | { ok: true; status: number; data: T; response: Response }
  /** Without a response it is not the call's own: its session needed a new token, and did not get one. */
  | { ok: false; status: number; error: Refusal<O>; response: Response | undefined };

type Fetched<T> = { data?: T; error?: unknown; response: Response };

/** What came of a call: its data, or a problem whose code is one of the operation's. */
export async function outcome<O extends Operation, T>(operation: O, call: Promise<Fetched<T>>): Promise<Answer<O, T>> {
  let fetched: Fetched<T>;
  try {
    fetched = await call;
  } catch (error) {
    if (!(error instanceof DropError)) throw error;
    const { problem, retryAfter, location } = error;
    const response = error instanceof ForeignAnswer ? error.response : undefined;
    const code = codeOf(operation, problem);
    const own = code === error.code ? error : new DropError(code, problem, retryAfter, location);
    return { ok: false, status: problem.status, error: own as Refusal<O>, response };
  }
  const { data, error, response } = fetched;
  if (response.ok) return { ok: true, status: response.status, data: data as T, response };
  return { ok: false, status: response.status, error: refusal(operation, error, response), response };
}

/** The data of a call; throws the problem. */
export async function data<O extends Operation, T>(operation: O, call: Promise<Fetched<T>>): Promise<T> {
  const answer = await outcome(operation, call);
  if (!answer.ok) throw answer.error;
  return answer.data;
}

export function refusal<O extends Operation>(operation: O, body: unknown, response: Response): Refusal<O> {
  if (!isProblem(body)) return new ForeignAnswer(response) as DropError as Refusal<O>;
  const location = response.headers.get("Location") ?? undefined;
  return new DropError(codeOf(operation, body), body, retryAfter(response), location) as Refusal<O>;
}

function codeOf(operation: Operation, { code }: Problem): Code | "other" {
  const known: readonly string[] = answers[operation];
  return known.includes(code) ? (code as Code) : "other";
}

function isProblem(body: unknown): body is Problem {
  if (typeof body !== "object" || body === null) return false;
  const { code, request_id, status, errors } = body as Record<string, unknown>;
  return typeof code === "string" && typeof request_id === "string" && typeof status === "number" && Array.isArray(errors);
}

/** What an answer says that it is, without parameters; empty where it does not say. */
export const mediaType = (response: Response): string =>
  (response.headers.get("Content-Type") ?? "").split(";", 1).join("").trim().toLowerCase();

/** Always seconds, where the service says it. */
function retryAfter(response: Response): number | undefined {
  const text = response.headers.get("Retry-After") ?? "";
  return /^[0-9]+$/.test(text) ? Number(text) : undefined;
}

/**
 * An answer that is not the service's: what stands between gave it, in its own words. The request may have arrived all the
 * same: repeat it with the same Idempotency-Key.
 */
export class ForeignAnswer extends DropError<"other"> {
  constructor(readonly response: Response) {
    const { status } = response;
    const title = "Not an answer of this service";
    const problem = { type: "about:blank", title, status, detail: title, code: "other", request_id: "", errors: [] };
    super("other", problem, retryAfter(response), undefined);
    this.name = "ForeignAnswer";
  }
}

/** What a client does about a code. */
export type Advice =
  | "mend the request"
  | "sign in again"
  | "start the login again"
  | "tell the person"
  | "ask the person"
  | "look again"
  | "try again later, with the same Idempotency-Key";

/** One line for each documented code: a code that comes into the document does not compile until it is thought about here. */
export const advice = {
  bad_request: "mend the request",
  bankid_cancelled: "start the login again",
  invalid_state: "start the login again",
  invalid_callback: "start the login again",
  unauthenticated: "sign in again",
  invalid_signature: "mend the request",
  forbidden: "mend the request",
  kyc_required: "ask the person",
  underage: "tell the person",
  age_unverified: "tell the person",
  not_found: "tell the person",
  request_timeout: "try again later, with the same Idempotency-Key",
  possible_duplicate: "ask the person",
  conflict: "look again",
  payload_too_large: "mend the request",
  unsupported_media_type: "mend the request",
  validation_failed: "mend the request",
  limit_exceeded: "tell the person",
  idempotency_key_reused: "mend the request",
  rate_limited: "try again later, with the same Idempotency-Key",
  internal_error: "try again later, with the same Idempotency-Key",
  token_exchange_failed: "start the login again",
  jwks_verification_failed: "start the login again",
  invalid_identity_claim: "start the login again",
  bankid_error: "start the login again",
  provider_error: "tell the person",
  circuit_open: "try again later, with the same Idempotency-Key",
  overloaded: "try again later, with the same Idempotency-Key",
  unavailable: "try again later, with the same Idempotency-Key",
} as const satisfies Record<Code, Advice>;

/** The status that a code comes with. */
export const statusOf = (code: Code): number => statuses[code];

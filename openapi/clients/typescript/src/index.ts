export { connect, newKey, respondAsync, until, wait, type Access, type Drop } from "./client.js";
export { follow, type Following, type Transaction } from "./follow.js";
export {
  advice,
  data,
  DropError,
  ForeignAnswer,
  outcome,
  statusOf,
  type Advice,
  type Answer,
  type Code,
  type CodeOf,
  type Operation,
  type Problem,
  type Refusal,
} from "./problem.js";
export { finishLogin, LoginEnded, NotKept, Session, startLogin, type Keep, type Saved, type StartedLogin } from "./session.js";

export { connect, newKey, respondAsync, until, wait, type Drop } from "./client.js";
export { follow, type Following, type Transaction } from "./follow.js";
export {
  advice,
  data,
  DropError,
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
export { finishLogin, LoginEnded, Session, startLogin, type StartedLogin } from "./session.js";

// An OpenID provider that shares nothing with the service: the certified npm package `oidc-provider`, set up as BankID is.
//
//   node provider.mjs CLIENT_ID CLIENT_SECRET      (by hand after `npm ci --ignore-scripts` in this folder)
//
// It takes one JSON command a line on its standard input and answers each with one line; the first line, unasked, is
// {"issuer": …}. It ends with its input, so that it never outlives the test that started it.
//
//   {"do": "register", "redirect_uri": …}     the one client and where it may be sent back to
//   {"do": "know_by_key", "key": …}           the client has this public key in place of its secret
//   {"do": "sign_with", "algorithm": …}       ES256 or RS256, from the next token on
//   {"do": "rotate"}                          new keys are published, the old ones are gone; {"kids": […]}
//   {"do": "record"}                          what was asked of it and what it answered; {"requests": […]}

import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

// The last two: the test hands this program to node as text, by hand it is a file with a name.
const [clientId, clientSecret] = process.argv.slice(-2);
// The package's advice to those who run it for real. It would stand between the answers.
console.info = console.warn = () => {};

// Synthetic numbers of Tenor: none is a real person's.
const people = {
  anna: { pid: '13897249477', given_name: 'Anna', family_name: 'Hansen', name: 'Anna Hansen', birthdate: '1972-09-13' },
  bjorn: { pid: '17829049236', given_name: 'Bjørn', family_name: 'Dahl', name: 'Bjørn Dahl', birthdate: '1990-02-17' },
};

const requests = [];
const setup = { keys: newKeys(), algorithm: 'ES256', redirectUris: [] };
let provider;

const server = createServer((request, response) => {
  const handle = request.url.startsWith('/interaction/') ? loginPage : provider.callback();
  Promise.resolve(handle(request, response)).catch((error) => {
    console.error(error);
    response.writeHead(500).end();
  });
});
server.listen(0, '127.0.0.1', async () => {
  provider = newProvider(); // its document is asked for before the client is known
  say({ issuer: issuer() });
  for await (const line of createInterface({ input: process.stdin })) say(obey(JSON.parse(line)));
  process.exit();
});

function obey(command) {
  switch (command.do) {
    case 'register':
      setup.redirectUris = [command.redirect_uri];
      break;
    case 'know_by_key':
      setup.clientKey = command.key;
      break;
    case 'sign_with':
      setup.algorithm = command.algorithm;
      break;
    case 'rotate':
      setup.keys = newKeys();
      break;
    case 'record':
      return { requests };
    default:
      throw new Error(`unknown command ${command.do}`);
  }
  // Keys and clients are fixed for the life of a Provider, so another one takes over under the same issuer.
  provider = newProvider();
  return { kids: setup.keys.map((key) => key.kid) };
}

function newProvider() {
  const made = new Provider(issuer(), {
    clients: [
      {
        client_id: clientId,
        ...proof(),
        redirect_uris: setup.redirectUris,
        response_types: ['code'],
        grant_types: ['authorization_code'],
        id_token_signed_response_alg: setup.algorithm,
      },
    ],
    jwks: { keys: setup.keys },
    responseTypes: ['code'],
    clientAuthMethods: ['client_secret_post', 'private_key_jwt'],
    enabledJWA: { idTokenSigningAlgValues: ['ES256', 'RS256'] },
    pkce: { methods: ['S256'], required: () => true },
    acrValues: ['urn:bankid:bid'],
    scopes: ['openid'],
    claims: { openid: ['sub', 'pid', 'acr', 'amr'], profile: ['name', 'given_name', 'family_name', 'birthdate'] },
    // BankID puts the person into the ID token; nobody asks its userinfo endpoint.
    conformIdTokenClaims: false,
    findAccount: (_, name) => ({ accountId: name, claims: () => ({ sub: name, ...people[name] }) }),
    loadExistingGrant: consent,
    features: { devInteractions: { enabled: false } },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    ttl: { AccessToken: 300, AuthorizationCode: 60, IdToken: 300, Interaction: 600, Session: 600, Grant: 600 },
    renderError: (context, out) => {
      context.type = 'json';
      context.body = out;
    },
  });
  made.use(record);
  // The answer to the client says less than this.
  made.on('grant.error', (context, error) => (context.state.detail = error.error_detail));
  return made;
}

function proof() {
  if (!setup.clientKey) return { client_secret: clientSecret, token_endpoint_auth_method: 'client_secret_post' };
  const method = { token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256' };
  return { jwks: { keys: [setup.clientKey] }, ...method };
}

// BankID has no page that asks for consent after the login.
async function consent({ oidc }) {
  const grant = new oidc.provider.Grant({ accountId: oidc.session.accountId, clientId: oidc.client.clientId });
  grant.addOIDCScope('openid profile');
  await grant.save();
  return grant;
}

async function record(context, next) {
  await next();
  const { route, params, client } = context.oidc ?? {};
  if (!['authorization', 'token', 'jwks', 'discovery'].includes(route)) return;
  const { error, id_token: token } = context.body ?? {};
  requests.push({
    route,
    status: context.status,
    error,
    detail: context.state.detail,
    codeChallengeMethod: params?.code_challenge_method,
    clientAuthMethod: client?.clientAuthMethod,
    signed: token && part(token, 0),
    amr: token && part(token, 1).amr,
  });
}

function part(token, index) {
  return JSON.parse(Buffer.from(token.split('.')[index], 'base64url'));
}

// GET shows who can log in; POST of `person=anna` logs in, of `cancel=yes` goes back without.
async function loginPage(request, response) {
  if (request.method !== 'POST') {
    await provider.interactionDetails(request, response);
    const names = Object.keys(people).map((name) => `<button name="person" value="${name}">${name}</button>`);
    const form = `<form method="post">${names.join('')}<button name="cancel" value="yes">cancel</button></form>`;
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(form);
    return;
  }
  let body = '';
  for await (const part of request) body += part;
  const form = new URLSearchParams(body);
  const result = form.has('cancel')
    ? { error: 'access_denied', error_description: 'the person pressed cancel' }
    : { login: { accountId: form.get('person'), acr: 'urn:bankid:bid;LOA=4', amr: 'BID' } }; // as BankID writes them
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

function newKeys() {
  const pairs = [
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ];
  return pairs.map(([alg, { privateKey }]) => ({
    ...privateKey.export({ format: 'jwk' }),
    use: 'sig',
    alg,
    kid: randomUUID(),
  }));
}

function issuer() {
  return `http://127.0.0.1:${server.address().port}`;
}

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
